package dnsallow

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
)

// secure is an upstream behind TLS: over it (DoT) and over HTTPS (DoH). Its
// certificate is for 127.0.0.1 and for example.com.
type secure struct {
	*nettest.DNS
	dot, doh string // addresses
	roots    *x509.CertPool
	lines    atomic.Int32 // TLS connections so far, of DoT
	answer   atomic.Pointer[http.HandlerFunc]

	mu   sync.Mutex
	open []net.Conn
}

func newSecure(t *testing.T, zone ...string) *secure {
	t.Helper()
	s := &secure{DNS: nettest.NewDNS(t, zone...), roots: x509.NewCertPool()}
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h := s.answer.Load(); h != nil {
			(*h)(w, r)
			return
		}
		s.honest(w, r)
	}))
	web.EnableHTTP2 = true
	web.StartTLS()
	t.Cleanup(web.Close)
	s.roots.AddCert(web.Certificate())
	s.doh = web.Listener.Addr().String()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.dot = l.Addr().String()
	var serving sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		s.hangUp()
		serving.Wait()
	})
	config := &tls.Config{Certificates: web.TLS.Certificates, NextProtos: []string{dotALPN}}
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { s.serve(tls.Server(conn, config)) })
		}
	})
	return s
}

func (s *secure) serve(conn *tls.Conn) {
	defer conn.Close()
	if conn.Handshake() != nil {
		return
	}
	s.lines.Add(1)
	s.mu.Lock()
	s.open = append(s.open, conn)
	s.mu.Unlock()
	for {
		packet, err := readFramed(conn, dns.MaxMsgSize)
		if err != nil {
			return
		}
		writeFramed(conn, s.reply(packet))
	}
}

func (s *secure) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, conn := range s.open {
		conn.Close()
	}
	s.open = nil
}

func (s *secure) reply(packet []byte) []byte {
	q := new(dns.Msg)
	if q.Unpack(packet) != nil {
		return nil
	}
	wire, _ := s.Honest(q).Pack()
	return wire
}

func (s *secure) honest(w http.ResponseWriter, r *http.Request) {
	packet, _ := io.ReadAll(r.Body)
	if r.ProtoMajor != 2 || r.Method != "POST" || r.URL.Path != "/dns-query" || r.Header.Get("User-Agent") != "" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", dnsMessage)
	w.Write(s.reply(packet))
}

func (s *secure) resolver(t *testing.T, upstreams ...string) *Resolver {
	t.Helper()
	c := ResolverConfig{Roots: s.roots, Try: patience / 2, Total: patience, Hedge: patience}
	for _, u := range upstreams {
		c.Upstreams = append(c.Upstreams, upstream(t, u))
	}
	r := NewResolver(c, ResolverDeps{})
	t.Cleanup(r.Close)
	return r
}

func port(addr string) uint16 { return netip.MustParseAddrPort(addr).Port() }

func TestUpstreamsOverTLSProveWhoTheyAre(t *testing.T) {
	s := newSecure(t, asked+". 300 IN A 13.74.107.71")
	stranger := newSecure(t, asked+". 300 IN A 13.13.13.13")
	for spelled, trusted := range map[string]bool{
		"tls://" + s.dot:                                true,
		"tls://" + s.dot + "#example.com":               true,
		"tls://" + s.dot + "#dns.quad9.net":             false,
		"https://" + s.doh + "/dns-query":               true,
		"https://" + s.doh + "/dns-query#example.com":   true,
		"https://" + s.doh + "/dns-query#dns.quad9.net": false,
	} {
		t.Run(spelled, func(t *testing.T) {
			f, err := s.resolver(t, spelled).lookup(context.Background(), question{asked, dns.TypeA})
			if !trusted {
				var invalid x509.HostnameError
				require.ErrorAs(t, err, &invalid)
				return
			}
			require.NoError(t, err)
			require.Equal(t, "13.74.107.71", f.addresses[0].addr.String())
		})
	}
	nobody := s.resolver(t, "tls://"+stranger.dot)
	nobody.exchanger.lines.roots = x509.NewCertPool()
	_, err := nobody.lookup(context.Background(), question{asked, dns.TypeA})
	var unknown x509.UnknownAuthorityError
	require.ErrorAs(t, err, &unknown, "and there is no falling back to plain DNS")
}

func TestALineIsKeptForTheNextQuestion(t *testing.T) {
	s := newSecure(t, asked+". 300 IN A 13.74.107.71")
	r := s.resolver(t, "tls://"+s.dot)
	ask := func() {
		_, err := r.lookup(context.Background(), question{asked, dns.TypeA})
		require.NoError(t, err)
	}
	for range 3 {
		ask()
	}
	require.Equal(t, int32(1), s.lines.Load())
	s.hangUp()
	ask()
	require.Equal(t, int32(2), s.lines.Load(), "one that was hung up is replaced without an error")
	r.Close()
	ask()
	ask()
	require.Equal(t, int32(4), s.lines.Load(), "after Close none is kept")
}

func TestAnUpstreamWithANameIsFoundThroughTheOthers(t *testing.T) {
	s := newSecure(t, asked+". 300 IN A 13.74.107.71")
	finder := nettest.NewDNS(t, "example.com. 300 IN A 127.0.0.1")
	finder.Handle(asked, nettest.Rcode(dns.RcodeServerFailure))
	named := fmt.Sprintf("https://example.com:%d/dns-query", port(s.doh))
	r := s.resolver(t, finder.Addr, named)
	for range 2 {
		f, err := r.lookup(context.Background(), question{asked, dns.TypeA})
		require.NoError(t, err)
		require.Len(t, f.addresses, 1)
	}
	require.Equal(t, 1, finder.Asked("example.com", ""), "what was found is remembered")

	_, err := s.resolver(t, named).lookup(context.Background(), question{asked, dns.TypeA})
	require.ErrorIs(t, err, errNotLocated)
}

func TestWhereAnUpstreamWasBeforeIsForgotten(t *testing.T) {
	u, l := upstream(t, "https://dns.quad9.net/dns-query"), new(lines)
	for i := range byte(9) {
		at := netip.AddrFrom4([4]byte{192, 0, 2, i})
		l.remember(u, foundAddr{addr: at})
		first := l.transport(u.at(at))
		l.remember(u, foundAddr{addr: at})
		require.Same(t, first, l.transport(u.at(at)), "it is where it was")
		require.Len(t, l.https, 1)
	}
}

func TestAnswersOverHTTPSThatAreNone(t *testing.T) {
	s := newSecure(t, asked+". 300 IN A 13.74.107.71")
	followed := atomic.Bool{}
	for what, h := range map[string]http.HandlerFunc{
		"an error": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusTeapot) },
		"a web page": func(w http.ResponseWriter, _ *http.Request) {
			w.Write([]byte("<html>please log in</html>"))
		},
		"rubbish": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", dnsMessage)
			w.Write([]byte("rubbish"))
		},
		"no end": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", dnsMessage)
			w.Write(make([]byte, 1<<20))
		},
		"an answer, and no end": func(w http.ResponseWriter, r *http.Request) {
			s.honest(w, r)
			w.Write(make([]byte, 1<<20))
		},
		"another answer": func(w http.ResponseWriter, _ *http.Request) {
			m := new(dns.Msg).SetQuestion("else.example.org.", dns.TypeA)
			m.Response = true
			wire, _ := m.Pack()
			w.Header().Set("Content-Type", dnsMessage)
			w.Write(wire)
		},
		"a way to somewhere else": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/dns-query" {
				followed.Store(true)
			}
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		},
	} {
		t.Run(what, func(t *testing.T) {
			s.answer.Store(&h)
			_, err := s.resolver(t, "https://"+s.doh+"/dns-query").lookup(context.Background(), question{asked, dns.TypeA})
			var invalid invalidError
			require.ErrorAs(t, err, &invalid)
		})
	}
	require.False(t, followed.Load())
}

func TestParseUpstreamOverTLS(t *testing.T) {
	for s, want := range map[string]struct{ addr, name, url string }{
		"tls://9.9.9.9#dns.quad9.net":               {"9.9.9.9:853", "dns.quad9.net", ""},
		"tls://9.9.9.9":                             {"9.9.9.9:853", "9.9.9.9", ""},
		"tls://[2620:fe::fe]:8853#DNS.quad9.net":    {"[2620:fe::fe]:8853", "dns.quad9.net", ""},
		"https://9.9.9.9/dns-query":                 {"9.9.9.9:443", "9.9.9.9", "https://9.9.9.9:443/dns-query"},
		"https://9.9.9.9#dns.quad9.net":             {"9.9.9.9:443", "dns.quad9.net", "https://dns.quad9.net:443/dns-query"},
		"https://[2620:fe::fe]:444/q#dns.quad9.net": {"[2620:fe::fe]:444", "dns.quad9.net", "https://dns.quad9.net:444/q"},
		"https://[2620:fe::fe]/q":                   {"[2620:fe::fe]:443", "2620:fe::fe", "https://[2620:fe::fe]:443/q"},
		"https://dns.quad9.net/dns-query":           {"invalid AddrPort", "dns.quad9.net", "https://dns.quad9.net:443/dns-query"},
	} {
		u, err := ParseUpstream(s)
		require.NoError(t, err, s)
		require.Equal(t, want.addr, u.Addr().String(), s)
		require.Equal(t, want.name, u.name, s)
		if want.url != "" {
			require.Equal(t, want.url, u.url(), s)
		}
	}
}
