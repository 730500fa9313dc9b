package proxy

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/ca"
	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

// carrier is how requests reach the gate, and from there their origin: on the
// proxy port, inside TLS that the gate looks into, or through a published door. What
// holds of the one holds of the other, and the same tests say so.
type carrier struct{ secure, published bool }

// overBoth runs a test over both carriers of what goes out.
func overBoth(t *testing.T, test func(*testing.T, carrier)) {
	t.Run("plain", func(t *testing.T) { test(t, carrier{}) })
	t.Run("inside TLS", func(t *testing.T) { test(t, carrier{secure: true}) })
}

// overAll runs a test over those of what comes in as well; where they are secure, TLS
// is spoken on both sides. The publication is what the first rule says.
func overAll(t *testing.T, test func(*testing.T, carrier)) {
	overBoth(t, test)
	t.Run("published", func(t *testing.T) { test(t, carrier{published: true}) })
	t.Run("published over TLS", func(t *testing.T) { test(t, carrier{published: true, secure: true}) })
}

// originAuthority vouches for the origins of these tests.
func originAuthority(t testing.TB) *nettest.Authority {
	originAuthorityOnce.Do(func() { originAuthorityMade = nettest.NewAuthority(t, "origins' CA") })
	return originAuthorityMade
}

var (
	originAuthorityOnce sync.Once
	originAuthorityMade *nettest.Authority
)

// inspectionCA is what the gates of these tests look inside TLS with.
var inspectionCA = sync.OnceValue(func() *ca.Authority {
	dir, err := os.MkdirTemp("", "gatehouse-ca-")
	if err == nil {
		defer os.RemoveAll(dir)
		var a *ca.Authority
		if a, err = ca.Create(dir, ca.Options{Domains: []string{"example.org", "127.0.0.1"}}); err == nil {
			return a
		}
	}
	panic(err)
})

// clientRoots are whom the clients of these tests trust.
func clientRoots() *x509.CertPool {
	pool := x509.NewCertPool()
	for _, c := range inspectionCA().Roots() {
		pool.AddCert(c)
	}
	return pool
}

// originTLS is how the origins of these tests speak TLS.
func originTLS(t testing.TB) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{originAuthority(t).Sign(t, nil, www, "127.0.0.1")}}
}

func (over carrier) origin(t testing.TB) *nettest.Origin {
	t.Helper()
	if over.secure {
		return nettest.NewSecureOrigin(t, originTLS(t))
	}
	return nettest.NewOrigin(t)
}

// veil puts TLS in front of a plain double where the carrier is TLS.
func (over carrier) veil(t testing.TB, addr string, port int) int {
	t.Helper()
	if over.secure {
		_, port = nettest.Veil(t, originTLS(t), addr)
	}
	return port
}

func (over carrier) canned(t testing.TB, reply string, reset bool) int {
	t.Helper()
	addr, port := nettest.NewCannedOrigin(t, reply, reset)
	return over.veil(t, addr, port)
}

// allow is a rule under which requests come by the carrier.
func (over carrier) allow(host string, port int, change ...func(*policy.Rule)) policy.Rule {
	if over.secure && !over.published {
		return allow(host, port, append(change, lookedInto)...)
	}
	return allow(host, port, append(change, plainHTTP)...)
}

// lookedInto says that a port carries TLS, which the gate looks into.
func lookedInto(r *policy.Rule) { r.Protocol, r.Inspect = policy.TLS, policy.InspectAlways }

// gate is a gate whose dial leads to where a request for the first rule's host
// can be sent.
func (over carrier) gate(t *testing.T, o options, rules ...policy.Rule) *gate {
	t.Helper()
	o.over, o.config.Roots = over, originAuthority(t).Roots
	g := newGate(t, o, rules...)
	g.site = fmt.Sprintf("%s:%d", rules[0].Hosts[0], rules[0].Ports[0].First)
	switch {
	case over.published:
		g.publish(rules[0].Name)
	case over.secure:
		require.NoError(t, g.server.Inspect(inspectionCA()))
	}
	return g
}

// inside opens a tunnel and shakes hands with the gate in it.
func (g *gate) inside(site string, change ...func(*tls.Config)) *nettest.Peer {
	g.t.Helper()
	c := g.knock().Say("CONNECT %[1]s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", site)
	c.Expect("HTTP/1.1 200 Connection established\r\n\r\n")
	secure := tls.Client(c.Conn, clientTLS(site, change...))
	require.NoError(g.t, secure.Handshake())
	return nettest.NewPeer(g.t, https{secure})
}

// clientTLS is how the clients of these tests speak TLS.
func clientTLS(site string, change ...func(*tls.Config)) *tls.Config {
	host, _, _ := cutPort(site)
	config := &tls.Config{ServerName: host, RootCAs: clientRoots(), NextProtos: []string{"h2", "http/1.1"}}
	for _, f := range change {
		f(config)
	}
	return config
}

func cutPort(site string) (host, port string, ok bool) {
	i := bytes.LastIndexByte([]byte(site), ':')
	if i < 0 {
		return site, "", false
	}
	return site[:i], site[i+1:], true
}

// https lets the tests write http:// for whatever the carrier's scheme is.
type https struct{ *tls.Conn }

func (h https) Write(p []byte) (int, error) {
	if _, err := h.Conn.Write([]byte(carrier{secure: true}.spell(string(p)))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// spell writes what the tests say to a proxy as the carrier takes it.
func (over carrier) spell(text string) string {
	switch {
	case !strings.Contains(text, "http://"): // looking for targets in a long body takes half a minute where races are looked for
		return text
	case over.published: // a server is asked for a path
		text = strings.NewReplacer("OPTIONS http://"+www, "OPTIONS *http://"+www).Replace(text)
		return targetOf.ReplaceAllStringFunc(text, func(target string) string {
			switch target[len(target)-1] {
			case '/':
				return "/"
			case '?':
				return "/?"
			}
			if target[0] == '*' {
				return "* "
			}
			return "/ "
		})
	case over.secure:
		return strings.ReplaceAll(text, "http://", "https://")
	}
	return text
}

// targetOf is an absolute target up to what follows its authority.
var targetOf = regexp.MustCompile(`\*?http://[a-z.0-9]+:[0-9]+[/? ]`)
