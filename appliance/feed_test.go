package appliance

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/appliance/doctor"
	"gatehouse/internal/flow"
	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

// pemOf is a certificate, with its key where there is one to show, as a file has it.
func pemOf(t *testing.T, pair tls.Certificate, key bool) string {
	t.Helper()
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})
	if key {
		private, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
		require.NoError(t, err)
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	}
	return string(text)
}

// frameOf reads one octet-counted frame and gives its message's header and body.
func frameOf(t *testing.T, in *bufio.Reader) (header string, r *flow.Record) {
	t.Helper()
	number, err := in.ReadString(' ')
	require.NoError(t, err)
	n, err := strconv.Atoi(strings.TrimSpace(number))
	require.NoError(t, err)
	message := make([]byte, n)
	_, err = io.ReadFull(in, message)
	require.NoError(t, err)
	header, body, _ := strings.Cut(string(message), "] {")
	r, err = flow.ParseLine([]byte("{" + body))
	require.NoError(t, err)
	return header, r
}

func TestEveryDecisionGoesToASyslogServerThatKnowsUsByOurCertificate(t *testing.T) {
	t.Parallel()
	ours, theirs := nettest.NewAuthority(t, "the school"), nettest.NewAuthority(t, "the council")
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{theirs.Sign(t, nil, "siem.council.test")},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: ours.Roots,
	})
	require.NoError(t, err)
	defer ln.Close()
	s := newSite(t, rulesText)
	s.dns.Zone(t, "www.groupcall.test. 60 IN A 127.0.0.1", "siem.council.test. 60 IN A 127.0.0.1")
	write(t, filepath.Join(s.dir, "roots.pem"), pemOf(t, theirs.Certificate, false))
	client := ours.Sign(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	write(t, filepath.Join(s.dir, "gate.pem"), pemOf(t, client, true))
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	s.configure(fmt.Sprintf("[tls]\nca_file = \"roots.pem\"\n[log]\nsyslog = \"tls://siem.council.test:%s\"\nsyslog_facility = \"authpriv\"\nsyslog_certificate = \"gate.pem\"\n", port))

	status, _ := s.get("/update.inf")
	require.Equal(t, 200, status)
	conn, err := ln.Accept()
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(nettest.Patience)))
	in := bufio.NewReader(conn)
	header, r := frameOf(t, in)
	require.Regexp(t, `^<86>1 \S+Z \S+ gatehouse \d+ allowed \[meta sequenceId="1"\]\[origin software="gatehouse" swVersion="test"$`, header, "authpriv, informational")
	require.Equal(t, "/update.inf", r.Path)

	status, _ = s.ask("GET", "http://www.groupcall.test:"+s.port+"/html.inf", http.ProxyURL(&url.URL{Scheme: "http", Host: s.address("proxy")}))
	require.Equal(t, 403, status)
	header, r = frameOf(t, in)
	require.Regexp(t, `^<84>1 .* denied \[meta sequenceId="2"\]`, header, "a warning")
	require.Equal(t, policy.TypeNotListed, r.Verdict.Reason)

	require.NoError(t, s.stop())
	_, err = in.ReadByte()
	require.ErrorIs(t, err, io.EOF, "with TLS's good-bye")
	require.Contains(t, s.log.String(), r.ID, "and the decision log has every line as before")
	require.Contains(t, s.log.String(), `"rule":"gatehouse/syslog"`, "the way to the server is a passage like any other")
	require.Zero(t, s.feed.dropped())
}

func TestASyslogServerThatIsNotThereHoldsUpNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	s.configure("[log]\nsyslog = \"unix://" + filepath.Join(s.dir, "nobody") + "\"\n")
	for range 3 {
		status, _ := s.get("/update.inf")
		require.Equal(t, 200, status)
	}
	require.Equal(t, doctor.Failed, s.feed.check(t.Context()).State)
	require.Contains(t, s.feed.check(t.Context()).Says, "no such file or directory")
	require.NoError(t, s.stop())
	require.Contains(t, scrape(t, s.tally), "gatehouse_syslog_dropped_total 3\n")
	require.Contains(t, scrape(t, s.tally), "gatehouse_log_dropped_total 0\n")
	require.Contains(t, s.said.String(), "decisions do not reach the server")
	require.Equal(t, 3, strings.Count(s.log.String(), `"path":"/update.inf"`))
	var losses []string
	for _, c := range s.wrong() {
		losses = append(losses, string(c.Kind)+": "+c.Says)
	}
	require.Contains(t, strings.Join(losses, "\n"), "log-dropped: Syslog: 3 decisions were never sent")
	s.ahead.Store(int64(lingers + time.Minute))
	require.Equal(t, doctor.OK, s.feed.lossCheck(s.now()).State, "an hour later that is past")
}

func TestDecisionsGoBySocketAndByUDP(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(shortDir(t), "log")
	for _, way := range []struct{ network, address, scheme string }{{"unixgram", socket, "unix://"}, {"udp", "127.0.0.1:0", "udp://"}} {
		t.Run(way.network, func(t *testing.T) {
			server, err := net.ListenPacket(way.network, way.address)
			require.NoError(t, err)
			defer server.Close()
			require.NoError(t, server.SetReadDeadline(time.Now().Add(nettest.Patience)))
			s := newSite(t, rulesText)
			s.configure("[log]\nsyslog = \"" + way.scheme + server.LocalAddr().String() + "\"\n")
			status, _ := s.get("/update.inf")
			require.Equal(t, 200, status)
			buf := make([]byte, 9000)
			n, _, err := server.ReadFrom(buf)
			require.NoError(t, err)
			require.Regexp(t, `^<134>1 .* allowed \[meta sequenceId="1"\].*"path":"/update.inf".*}$`, string(buf[:n]))
			require.Equal(t, doctor.OK, s.feed.check(t.Context()).State)
		})
	}
}

func TestACertificateForTheSyslogServerThatHasEndedKeepsNoGateShut(t *testing.T) {
	dir := t.TempDir()
	ended := nettest.SelfSigned(t, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter, c.ExtKeyUsage = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour), nil
	})
	write(t, filepath.Join(dir, "gate.pem"), pemOf(t, ended, true))
	text := "[log]\nsyslog = \"tls://siem.council.test\"\nsyslog_certificate = \"gate.pem\"\n"
	c, problems := ParseConfig(filepath.Join(dir, "gatehouse.toml"), []byte(text))
	require.Empty(t, problems)
	_, err := clientPair(c.Log.SyslogCertificate, time.Now())
	require.ErrorContains(t, err, "the certificate ended on", "the server is asked, and this is why it refuses")
	require.NoError(t, os.Remove(filepath.Join(dir, "gate.pem")))
	_, problems = ParseConfig(filepath.Join(dir, "gatehouse.toml"), []byte(text))
	require.Len(t, problems, 1)
	require.Contains(t, problems[0].Message, "no such file")
}
