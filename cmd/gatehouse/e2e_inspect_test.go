package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/csv"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
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

// asking is one request that a requirement permits or does not.
type asking struct {
	name, host, method, path, upload string
	status                           int
	reason                           string // of a refusal
	body                             string // of an answer
	seen                             bool   // the gate looks inside
}

// askings are made of the https rows of the requirements: each of its methods with
// each of its types, a method nobody asks for and, where the type is bound, one
// that nobody asks for.
func askings(t *testing.T) (all []asking) {
	f, err := os.Open("../../rules/testdata/requirements.csv")
	require.NoError(t, err)
	defer f.Close()
	r := csv.NewReader(f)
	r.Comment, r.FieldsPerRecord = '#', -1
	rows, err := r.ReadAll()
	require.NoError(t, err)
	seen := 0
	for _, row := range rows[1:] {
		id, host, schemes, methods, glob, types, pack := row[0], row[5], row[6], strings.TrimPrefix(row[9], "(not stated) "), row[10], row[11], row[len(row)-2]
		if !strings.Contains(schemes, "https") || strings.ContainsAny(host, "(;") || methods == "" || methods == "CONNECT" || strings.HasPrefix(pack, "none") {
			continue
		}
		seen++
		// Rules without inner clauses need no look inside.
		looks := host != "xporter.groupcall.com" && host != "xodhub.groupcall.com"
		path := strings.Replace(glob, "*", strings.ToLower(id), 1)
		if !strings.HasPrefix(path, "/") {
			path = "/updates/" + path
		}
		kinds := strings.Split(types, ";")
		if types == "" {
			kinds = []string{"text/html"}
		}
		for _, kind := range kinds {
			for method := range strings.SplitSeq(methods, ";") {
				a := asking{fmt.Sprintf("%s %s as %s", id, method, kind), host, method, path + "?type=" + url.QueryEscape(kind), "", 200, "", contentOf(kind), looks}
				if method == "POST" {
					a.upload = kind
					a.body += " after 4 octets"
				}
				all = append(all, a)
			}
		}
		if methods == "GET;POST" && !strings.HasPrefix(row[9], "(") {
			all = append(all, asking{id + " DELETE", host, "DELETE", path + "?type=text/plain", "", 403, "method-not-listed", "", looks})
		}
		if types != "" && (strings.HasPrefix(glob, "*.") || host == "dashboard.groupcall.com") {
			all = append(all, asking{id + " as an image", host, "GET", path + "?type=image/png", "", 403, "type-not-listed", "", looks})
		}
	}
	require.GreaterOrEqual(t, seen, 14)
	return append(all, asking{"an address", "127.0.0.12", "GET", "/?type=text/plain", "", 200, "", "text", true})
}

// askAll asks all of them one after another, and holds what the clients saw and
// what was counted to what must be.
func (g *gate) askAll(t *testing.T, list []asking, ask func(asking) (int, string)) {
	before := g.decisions(t)
	want, inside := map[string]int{}, 0
	for _, a := range list {
		status, body := ask(a)
		require.Equal(t, a.status, status, "%s: %s", a.name, body)
		if a.status == 200 {
			require.Equal(t, a.body, body, a.name)
			if a.seen {
				want["http allowed matched"]++
			}
		} else {
			require.Contains(t, body, "The gateway refused access to "+a.host+":443.", a.name)
			want["http denied "+a.reason]++
		}
		if a.seen {
			inside++
		}
	}
	g.eventually(t, "each exchange and each tunnel is counted once", func() bool {
		got := since(before, g.decisions(t))
		for labels, n := range want {
			if countOf(got, labels) != n {
				return false
			}
		}
		return countOf(got, "http ") == inside && countOf(got, "connect ") == len(list) && countOf(got, "connect allowed matched") == countOf(got, "connect ")
	})
}

// goAsk asks as Go programs do.
func goAsk(t *testing.T, proxy string, roots *x509.CertPool, a asking) (int, string) {
	t.Helper()
	transport := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: proxy}), TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(t.Context(), nettest.Patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, a.method, "https://"+a.host+a.path, nil)
	require.NoError(t, err)
	if a.upload != "" {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader("data")), 4
		r.Header.Set("Content-Type", a.upload)
	}
	resp, err := (&http.Client{Transport: transport}).Do(r)
	require.NoError(t, err, a.name)
	defer resp.Body.Close()
	require.Equal(t, "HTTP/1.1", resp.Proto)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err, a.name)
	return resp.StatusCode, string(body)
}

func (g *gate) curlAsk(t *testing.T, trusted string, a asking) (int, string) {
	t.Helper()
	args := []string{"--cacert", trusted, "-X", a.method, "-w", "\n%{http_code}"}
	if a.upload != "" {
		args = append(args, "-H", "Content-Type: "+a.upload, "--data-binary", "data")
	}
	out, code := g.curl(t, append(args, "https://"+a.host+a.path)...)
	require.Zero(t, code, "%s: %s", a.name, out)
	i := strings.LastIndexByte(out, '\n')
	status, err := strconv.Atoi(out[i+1:])
	require.NoError(t, err, out)
	return status, out[:i]
}

// answered is what a client saw.
type answered struct {
	status int
	body   string
}

// nodeAsk asks all with one Node, each in a tunnel of its own.
func (g *gate) nodeAsk(t *testing.T, trusted string, list []asking) (all []answered) {
	t.Helper()
	var lines bytes.Buffer
	for _, a := range list {
		body := ""
		if a.upload != "" {
			body = "data"
		}
		require.NoError(t, json.NewEncoder(&lines).Encode(map[string]string{"host": a.host, "method": a.method, "path": a.path, "type": a.upload, "body": body}))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 6*nettest.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "testdata/e2e/client.js", g.proxy)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "NODE_EXTRA_CA_CERTS=" + trusted}
	cmd.Stdin = &lines
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	for line := range strings.Lines(string(out)) {
		status, body, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.Atoi(status)
		require.NoError(t, err, string(out))
		var text string
		require.NoError(t, json.Unmarshal([]byte(body), &text), line)
		all = append(all, answered{n, latin1(text)})
	}
	require.Len(t, all, len(list))
	return all
}

// latin1 gives back the bytes that Node showed as characters.
func latin1(s string) string {
	var b []byte
	for _, r := range s {
		b = append(b, byte(r))
	}
	return string(b)
}

// opensslAsk asks as programs of 2010 do: TLS 1.2, no ALPN, AES in CBC.
func (g *gate) opensslAsk(t *testing.T, trusted string, a asking) (int, string) {
	t.Helper()
	name := []string{"-servername", a.host, "-verify_hostname", a.host}
	if net.ParseIP(a.host) != nil {
		name = []string{"-noservername", "-verify_ip", a.host}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*nettest.Patience)
	defer cancel()
	args := []string{"s_client", "-proxy", g.proxy, "-connect", a.host + ":443", "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA",
		"-CAfile", trusted, "-verify_return_error", "-quiet", "-ign_eof"}
	cmd := exec.CommandContext(ctx, "openssl", append(args, name...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	request := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n", a.method, a.path, a.host)
	if a.upload != "" {
		request += "Content-Type: " + a.upload + "\r\nContent-Length: 4\r\n\r\ndata"
	} else {
		request += "\r\n"
	}
	cmd.Stdin = strings.NewReader(request)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	resp, malformed := http.ReadResponse(bufio.NewReader(bytes.NewReader(out)), &http.Request{Method: a.method})
	require.NoError(t, malformed, "%s: %v: %s", a.name, err, said.String())
	defer resp.Body.Close()
	body, malformed := io.ReadAll(resp.Body)
	require.NoError(t, malformed, a.name)
	return resp.StatusCode, string(body)
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
