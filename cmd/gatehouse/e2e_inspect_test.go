package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
)

const inspectRules = `version = 1
[[client]]
name = "agents"
from = ["127.0.0.1"]
[[pack]]
name = "emerge-server"
[[pack]]
name = "emerge-client"
[[pack]]
name = "xporter"
[[pack]]
name = "heartbeat"
[[pack]]
name = "app-stores"
[[allow]]
name     = "chat"
hosts    = ["chat.example.org"]
methods  = ["GET"]
upgrades = ["websocket"]
[[allow]]
name  = "shaky"
hosts = ["expired.example.org"]
paths = ["/*"]
[[allow]]
name    = "by-address"
hosts   = ["127.0.0.12"]
methods = ["GET"]
[[allow]]
name    = "pinned"
hosts   = ["pinned.example.org"]
methods = ["GET"]
inspect = "never"
`

// TestEndToEndInspection drives every https requirement through the built binary
// with inspection on, allowed and refused, by TLS clients of four makes: Go's,
// curl's, Node's, and OpenSSL's held to TLS 1.2 and a cipher of 2008.
func TestEndToEndInspection(t *testing.T) {
	needTools(t)
	for _, client := range []string{"node", "openssl"} {
		_, err := exec.LookPath(client)
		need(t, err == nil, client+" is not installed")
	}
	w := newSecureWorld(t)
	g := newGate(t, buildBinary(t), inspectRules, w.dns)
	g.inspects(t, w)
	g.start(t)
	roots, trusted := g.exportCA(t, w)

	list := askings(t)
	t.Run("Go", func(t *testing.T) {
		g.askAll(t, list, func(a asking) (int, string) { return goAsk(t, g.proxy, roots, a) })
	})
	t.Run("curl", func(t *testing.T) {
		g.askAll(t, list, func(a asking) (int, string) { return g.curlAsk(t, trusted, a) })
	})
	t.Run("Node", func(t *testing.T) {
		var answers []answered
		g.askAll(t, list, func(asking) (status int, body string) {
			if answers == nil { // one Node for all of them
				answers = g.nodeAsk(t, trusted, list)
			}
			status, body = answers[0].status, answers[0].body
			answers = answers[1:]
			return status, body
		})
	})
	t.Run("OpenSSL with TLS 1.2", func(t *testing.T) {
		g.askAll(t, list, func(a asking) (int, string) { return g.opensslAsk(t, trusted, a) })
	})
	t.Run("what is never looked into shows its own certificate", func(t *testing.T) { g.testNeverInspected(t, w) })
	t.Run("a WebSocket inside", func(t *testing.T) { g.testWebSocket(t, roots) })
	t.Run("an origin that cannot be trusted is told", func(t *testing.T) {
		out, _ := g.curl(t, "--cacert", trusted, "-i", "https://expired.example.org/")
		require.Contains(t, out, "HTTP/1.1 502 ")
		require.Contains(t, out, `error=tls_certificate_error; details="upstream-untrusted"`)
		require.Contains(t, out, "The certificate of expired.example.org, issued by")
		require.Contains(t, out, "expired on 2 January 2026")
	})
	t.Run("a client that does not trust the CA is told in the log", func(t *testing.T) { g.testDistrust(t) })
	t.Run("without the CA nothing is opened unseen", func(t *testing.T) { g.testNoCA(t, w) })
}

// secureWorld is the https part of the internet as the gate under test sees it.
type secureWorld struct {
	dns     *nettest.DNS
	ca      *nettest.Authority
	origins string // PEM file of the authority that vouches for the origins
}

func newSecureWorld(t *testing.T) *secureWorld {
	w := &secureWorld{ca: nettest.NewAuthority(t, "the origins' CA")}
	var zone []string
	for _, host := range []string{
		"www.groupcall.co.uk", "dashboard.groupcall.com", "xporter.groupcall.com", "xodhub.groupcall.com",
		"pinned.example.org", "itunes.apple.com",
	} {
		zone = append(zone, host+". 300 IN A 127.0.0.12")
	}
	w.dns = nettest.NewDNS(t, append(zone, "chat.example.org. 300 IN A 127.0.0.13", "expired.example.org. 300 IN A 127.0.0.14",
		"emergeen.servicebus.windows.net. 300 IN A 127.0.0.3")...)
	w.origins = filepath.Join(t.TempDir(), "origins.pem")
	require.NoError(t, os.WriteFile(w.origins, pemOf(w.ca.Certificate.Certificate[0]), 0o644))

	site := w.ca.Sign(t, nil, "www.groupcall.co.uk", "*.groupcall.com", "pinned.example.org", "itunes.apple.com", "127.0.0.12")
	w.serve(t, "127.0.0.12:443", site)
	w.serve(t, "127.0.0.14:443", w.ca.Sign(t, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Date(2025, 1, 2, 0, 0, 0, 0, time.UTC), time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	}, "expired.example.org"))
	echo, _ := nettest.NewUpgradeOrigin(t)
	chat, _ := nettest.Veil(t, &tls.Config{Certificates: []tls.Certificate{w.ca.Sign(t, nil, "chat.example.org")}}, echo)
	expose(t, "127.0.0.13:443", chat)
	expose(t, "127.0.0.3:443", nettest.NewTLSOrigin(t, "emergeen.servicebus.windows.net").Addr)
	return w
}

// serve answers what is asked for with the type that the query names.
func (w *secureWorld) serve(t *testing.T, address string, certificate tls.Certificate) {
	origin := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent, _ := io.ReadAll(r.Body)
		kind := r.URL.Query().Get("type")
		w.Header().Set("Content-Type", kind)
		w.Write([]byte(contentOf(kind)))
		if len(sent) > 0 {
			fmt.Fprintf(w, " after %d octets", len(sent))
		}
	}))
	origin.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	origin.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that the gate breaks off
	origin.StartTLS()
	t.Cleanup(origin.Close)
	expose(t, address, origin.Listener.Addr().String())
}

// contentOf is a body that does not contradict its type.
func contentOf(kind string) string {
	switch kind {
	case "application/octet-stream":
		return "MZ\x90\x00\x03 a program"
	case "application/x-zip-compressed":
		return "PK\x03\x04 an archive"
	case "text/xml":
		return "<?xml version=\"1.0\"?><a/>"
	}
	return "text"
}

func pemOf(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}) }

// inspects switches inspection on, with a CA for what the rules call for.
func (g *gate) inspects(t *testing.T, w *secureWorld) {
	t.Helper()
	config, err := os.ReadFile(g.path("gatehouse.toml"))
	require.NoError(t, err)
	g.write(t, "gatehouse.toml", string(config)+fmt.Sprintf("[inspection]\nenabled = true\n[tls]\nca_file = %q\n", w.origins))
	out, code := tool(t, g.bin, "ca", "init", "--config", g.path("gatehouse.toml"))
	require.Zero(t, code, out)
	out, code = tool(t, g.bin, "check", "--config", g.path("gatehouse.toml"), g.path("rules.toml"))
	require.Zero(t, code, out)
}

// exportCA gives the CA to clients, which trust it besides that of the origins, as
// they do everywhere.
func (g *gate) exportCA(t *testing.T, w *secureWorld) (*x509.CertPool, string) {
	t.Helper()
	out, code := tool(t, g.bin, "ca", "export", "--config", g.path("gatehouse.toml"))
	require.Zero(t, code, out)
	origins, err := os.ReadFile(w.origins)
	require.NoError(t, err)
	g.write(t, "trusted.pem", out+string(origins))
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM([]byte(out)))
	require.True(t, roots.AppendCertsFromPEM(origins))
	return roots, g.path("trusted.pem")
}

// certificateOf opens a tunnel and says who signed what is shown there.
func (g *gate) certificateOf(t *testing.T, host string) string {
	t.Helper()
	p := nettest.Dial(t, g.proxy).Say("CONNECT %[1]s:443 HTTP/1.1\r\nHost: %[1]s:443\r\n\r\n", host)
	require.Contains(t, p.Head(), " 200 ")
	secure := tls.Client(p.Conn, &tls.Config{ServerName: host, InsecureSkipVerify: true}) // it is looked at below
	require.NoError(t, secure.Handshake())
	defer secure.Close()
	return secure.ConnectionState().PeerCertificates[0].Issuer.CommonName
}

func (g *gate) testNeverInspected(t *testing.T, w *secureWorld) {
	require.Contains(t, g.certificateOf(t, "www.groupcall.co.uk"), "Gatehouse inspection CA")
	require.Equal(t, "the origins' CA", g.certificateOf(t, "itunes.apple.com"), "Apple's clients refuse it")
	require.Equal(t, "the origins' CA", g.certificateOf(t, "pinned.example.org"), `inspect = "never"`)
	require.Equal(t, "test origin", g.certificateOf(t, "emergeen.servicebus.windows.net"), "the Service Bus client checks the certificate its own way")
}

func (g *gate) testWebSocket(t *testing.T, roots *x509.CertPool) {
	p := nettest.Dial(t, g.proxy).Say("CONNECT chat.example.org:443 HTTP/1.1\r\nHost: chat.example.org:443\r\n\r\n")
	require.Contains(t, p.Head(), " 200 ")
	secure := tls.Client(p.Conn, &tls.Config{ServerName: "chat.example.org", RootCAs: roots})
	require.NoError(t, secure.Handshake())
	c := nettest.NewPeer(t, secure)
	c.Say("GET /chat HTTP/1.1\r\nHost: chat.example.org\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	require.Contains(t, c.Head(), "HTTP/1.1 101 ")
	c.Say("both").Expect("both").Say("ways").Expect("ways").Say("bye")
	c.Ended()
}

func (g *gate) testDistrust(t *testing.T) {
	_, code := g.curl(t, "https://www.groupcall.co.uk/update.inf") // with the system's roots
	require.NotZero(t, code)
	g.eventually(t, "the fault is counted", func() bool {
		_, metrics := g.get("/metrics")
		return strings.Contains(metrics, `gatehouse_inspection_faults_total{fault="client-distrusts"} 1`)
	})
	g.eventually(t, "the decision log says what to do", func() bool {
		text, err := os.ReadFile(g.path("decisions.json"))
		require.NoError(t, err)
		return strings.Contains(string(text), `"fault":"client-distrusts","detail":"The program on 127.0.0.1 does not accept the gateway's certificate for www.groupcall.co.uk`)
	})
}

func (g *gate) testNoCA(t *testing.T, w *secureWorld) {
	require.NoError(t, os.RemoveAll(g.path("state/ca")))
	g.eventually(t, "the gate has noticed", func() bool {
		_, said := g.get("/readyz")
		return strings.Contains(said, "inspection is on and cannot begin")
	})
	out, _ := g.curl(t, "-i", "-k", "https://www.groupcall.co.uk/update.inf")
	require.Contains(t, out, "HTTP/1.1 403 ")
	require.Contains(t, out, `details="no-policy"`)
	require.Equal(t, "the origins' CA", g.certificateOf(t, "pinned.example.org"), "what need not be looked into goes on")
	require.Zero(t, g.terminate(t))
}
