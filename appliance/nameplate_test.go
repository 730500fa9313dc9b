package appliance

import (
	"crypto/tls"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"gatehouse/appliance/doctor"
	"gatehouse/internal/nettest"
)

// secureNames starts the appliance anew, with DNS over TLS.
func (s *site) secureNames() {
	s.t.Helper()
	require.NoError(s.t, s.stop())
	path := filepath.Join(s.dir, "gatehouse.toml")
	had, err := os.ReadFile(path)
	require.NoError(s.t, err)
	write(s.t, path, strings.NewReplacer("[listen]\n", "[listen]\ndns_tls = \"127.0.0.1:0\"\n", "[dns]\n", "[dns]\ncertificate = \"dns.pem\"\n").Replace(string(had)))
	s.start()
}

// askSecurely asks over TLS, as a client that trusts one authority and wants a name.
func (s *site) askSecurely(by *nettest.Authority, server string) (*dns.Msg, error) {
	client := dns.Client{Net: "tcp-tls", Timeout: nettest.Patience, TLSConfig: &tls.Config{RootCAs: by.Roots, ServerName: server, NextProtos: []string{"dot"}}}
	reply, _, err := client.Exchange(new(dns.Msg).SetQuestion("www.groupcall.test.", dns.TypeA), s.address("dns_tls"))
	return reply, err
}

func TestNamesAreAnsweredOverTLS(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	school := nettest.NewAuthority(t, "school")
	s.certificate("dns.pem", school)
	s.secureNames()
	for _, name := range []string{"localhost", "127.0.0.1"} { // by name (RFC 8310), and by address
		reply, err := s.askSecurely(school, name)
		require.NoError(t, err)
		require.Len(t, reply.Answer, 1)
	}
	_, err := s.askSecurely(school, "dns.example.org")
	require.ErrorContains(t, err, "not dns.example.org")
	_, err = s.askSecurely(nettest.NewAuthority(t, "stranger"), "localhost")
	require.ErrorContains(t, err, "unknown authority")

	for what, config := range map[string]*tls.Config{
		"TLS 1.1":               {MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10},
		"who wants a web page":  {NextProtos: []string{"h2", "http/1.1"}},
		"who asks in the clear": nil,
	} {
		conn, err := net.Dial("tcp", s.address("dns_tls"))
		require.NoError(t, err)
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(nettest.Patience))
		if config == nil {
			plain := &dns.Conn{Conn: conn}
			require.NoError(t, plain.WriteMsg(new(dns.Msg).SetQuestion("www.groupcall.test.", dns.TypeA)))
			_, err = plain.ReadMsg()
		} else {
			config.RootCAs, config.ServerName = school.Roots, "localhost"
			err = tls.Client(conn, config).Handshake()
		}
		require.Error(t, err, what)
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded, what)
	}
	require.NoError(t, s.stop())
	require.Contains(t, scrape(t, s.tally), `gatehouse_dns_queries_total{qtype="A",verdict="allowed"} 2`+"\n")
}

// A connection over TLS is one over TCP: many questions, and a client that hangs up.
func TestManyQuestionsOverOneTLSConnection(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	school := nettest.NewAuthority(t, "school")
	s.certificate("dns.pem", school)
	s.secureNames()
	raw, err := tls.Dial("tcp", s.address("dns_tls"), &tls.Config{RootCAs: school.Roots, ServerName: "localhost"})
	require.NoError(t, err, "without ALPN, as many do")
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(nettest.Patience))
	conn := &dns.Conn{Conn: raw}
	asked := map[uint16]bool{}
	for range 40 {
		m := new(dns.Msg).SetQuestion("www.groupcall.test.", dns.TypeA)
		asked[m.Id] = true
		require.NoError(t, conn.WriteMsg(m))
	}
	require.NoError(t, raw.CloseWrite())
	for range 40 {
		reply, err := conn.ReadMsg()
		require.NoError(t, err)
		require.True(t, asked[reply.Id])
		require.Len(t, reply.Answer, 1)
	}
	_, err = raw.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
}

func TestACertificateThatCannotBeUsedKeepsNobodyElseFromServing(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	s.secureNames()
	require.Len(t, s.query("www.groupcall.test.").Answer, 1, "over UDP")
	status, ready := s.admin("GET", "/readyz")
	require.Equal(t, 200, status)
	require.Contains(t, ready, "warning: listen.dns_tls: its certificate cannot be used: ")
	old, renewed := nettest.NewAuthority(t, "old"), nettest.NewAuthority(t, "renewed")
	_, err := s.askSecurely(old, "localhost")
	require.Error(t, err)

	s.certificate("dns.pem", old) // nobody has to reload
	require.Eventually(t, func() bool { _, err := s.askSecurely(old, "localhost"); return err == nil }, nettest.Patience, 10*time.Millisecond)
	s.certificate("dns.pem", renewed)
	require.Eventually(t, func() bool { _, err := s.askSecurely(renewed, "localhost"); return err == nil }, nettest.Patience, 10*time.Millisecond)
	_, ready = s.admin("GET", "/readyz")
	require.Contains(t, ready, "warning: listen.dns_tls: its certificate ends on ", "those of tests are good for the day")
	require.Equal(t, doctor.Warning, found(s.certificateChecks(), "DNS over TLS").State)
}
