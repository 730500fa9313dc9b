package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
)

// publishRules are the vendor's rows E25 and E29: devices reach the Emerge Server by
// GET, POST and PUT, here in plain HTTP and over TLS.
const publishRules = `version = 1
[[client]]
name = "devices"
from = ["127.0.0.1"]
[[client]]
name = "others"
from = ["127.0.0.78"]
[[publish]]
name = "emerge"
clients = ["devices"]
listen = [%[1]q]
to = %[3]q
[[publish]]
name = "emerge-tls"
clients = ["devices"]
listen = [%[2]q]
to = %[3]q
paths = ["/api/*"]
tls = "emerge.pem"
max_body = "1 KiB"
[[test]]
client = "devices"
allow = ["PUBLISH emerge PUT /api/pupils/7", "PUBLISH emerge-tls /api/pupils"]
deny = ["PUBLISH emerge DELETE /api/pupils/7", "PUBLISH emerge-tls /admin"]
`

// emergeServer stands for the school's server: it says what it was asked.
func emergeServer(t *testing.T) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %q for %s at %s\n", r.Method, r.URL.Path, body, r.Header.Get("X-Forwarded-For"), r.Host)
	}))
	t.Cleanup(s.Close)
	return s
}

func TestEndToEndPublish(t *testing.T) {
	_, err := exec.LookPath("curl")
	need(t, err == nil, "curl is not installed")
	server := emergeServer(t)
	at := freeAddresses(t, "127.0.0.77", 2)
	g := newGate(t, buildBinary(t), fmt.Sprintf(publishRules, at[0], at[1], server.URL), nettest.NewDNS(t))
	school := nettest.NewAuthority(t, "school")
	g.write(t, "school.pem", string(pemOf(school.Leaf.Raw)))
	g.write(t, "emerge.pem", pairOf(t, school, "emerge.school.example"))
	g.start(t)
	answered := 0
	g.eventually(t, "both doors are open", func() bool {
		_, one := g.ask(t, "http://"+at[0]+"/")
		_, two := g.secure(t, at[1], "/api/")
		for _, code := range []int{one, two} {
			if code == 0 {
				answered++
			}
		}
		return one == 0 && two == 0
	})
	g.eventually(t, "what was answered so far is counted", func() bool { return total(g.decisions(t)) == answered })
	before := g.decisions(t)

	// E25, E29: what the vendor's page asks for.
	for _, method := range []string{"GET", "POST", "PUT"} {
		out, code := g.ask(t, "-X", method, "http://"+at[0]+"/api/pupils", "-d", "x=1", "-H", "X-Forwarded-For: 10.0.0.1")
		require.Zero(t, code, out)
		require.Equal(t, fmt.Sprintf("%s /api/pupils %q for 127.0.0.1 at %s\n", method, "x=1", at[0]), out)
	}
	out, code := g.secure(t, at[1], "/api/pupils", "-H", "Transfer-Encoding: chunked", "-d", "x=1")
	require.Zero(t, code, out)
	require.Equal(t, "POST /api/pupils \"x=1\" for 127.0.0.1 at emerge.school.example:"+portOf(at[1])+"\n", out)

	// And what it does not.
	for _, c := range []struct {
		status string
		args   []string
	}{
		{"403", []string{"-X", "DELETE", "http://" + at[0] + "/api/pupils"}},
		{"403", []string{"--interface", "127.0.0.78", "http://" + at[0] + "/api/pupils"}},
		{"403", []string{"--interface", "127.0.0.79", "http://" + at[0] + "/api/pupils"}},
		{"403", []string{"-H", "Connection: Upgrade", "-H", "Upgrade: websocket", "http://" + at[0] + "/"}},
		{"400", []string{"-x", "http://" + at[0], "http://www.example.org/"}},
		{"400", []string{"-x", "http://" + at[0], "-p", "http://www.example.org/"}},
	} {
		out, _ := g.ask(t, append([]string{"-o", "/dev/null", "-w", "%{http_code}%{http_connect}"}, c.args...)...)
		require.Contains(t, out, c.status, "%v", c.args)
	}
	for path, status := range map[string]string{"/admin": "403", "/api/..%2fadmin": "400"} {
		out, _ := g.secure(t, at[1], path, "-o", "/dev/null", "-w", "%{http_code}", "--path-as-is")
		require.Equal(t, status, out, path)
	}
	out, _ = g.secure(t, at[1], "/api/pupils", "-o", "/dev/null", "-w", "%{http_code}", "-d", strings.Repeat("x", 1025))
	require.Equal(t, "413", out)

	g.eventually(t, "every request is counted", func() bool { return total(since(before, g.decisions(t))) >= 13 })
	require.Equal(t, map[string]int{
		"publish allowed matched emerge": 3, "publish allowed matched emerge-tls": 1,
		"publish denied method-not-listed emerge": 1, "publish denied client-not-listed emerge": 2,
		"publish denied upgrade-not-listed emerge": 1, "publish denied host-mismatch ": 1, "publish denied bad-request ": 1,
		"publish denied path-not-listed emerge-tls": 1, "publish denied bad-request emerge-tls": 1, "publish denied limit emerge-tls": 1,
	}, since(before, g.decisions(t)))

	g.testPublishExplained(t)
	g.testPublishGoes(t, at[0])
}

// ask asks a published door with curl.
func (g *gate) ask(t *testing.T, args ...string) (out string, code int) {
	t.Helper()
	return tool(t, "curl", append([]string{"-sS", "--max-time", "30"}, args...)...)
}

// secure asks the door that speaks TLS, by the name in its certificate.
func (g *gate) secure(t *testing.T, at, path string, args ...string) (out string, code int) {
	t.Helper()
	const name = "emerge.school.example"
	return g.ask(t, append([]string{"--cacert", g.path("school.pem"), "--resolve", name + ":" + portOf(at) + ":127.0.0.77",
		"https://" + name + ":" + portOf(at) + path}, args...)...)
}

func portOf(at string) string { return at[strings.LastIndexByte(at, ':')+1:] }

// pairOf is a certificate with its key, in one file.
func pairOf(t *testing.T, by *nettest.Authority, name string) string {
	pair := by.Sign(t, nil, name)
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	require.NoError(t, err)
	return string(pemOf(pair.Certificate[0])) + string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
}

func (g *gate) testPublishExplained(t *testing.T) {
	out, code := tool(t, g.bin, "explain", "--config", g.path("gatehouse.toml"), "--client", "127.0.0.1", "--method", "DELETE", "PUBLISH", "emerge", "/api/pupils")
	require.Equal(t, 1, code, out)
	require.Contains(t, out, "method-not-listed")
	require.Contains(t, out, `add "DELETE" to methods`)
	out, code = tool(t, g.bin, "explain", "--config", g.path("gatehouse.toml"), "--client", "127.0.0.1", "PUBLISH", "emerge", "PUT", "/api/pupils")
	require.Zero(t, code, out)
	out, code = tool(t, g.bin, "check", g.path("rules.toml"))
	require.Zero(t, code, out)
	require.Contains(t, out, " 0 errors, 0 warnings; mode enforce, 0 rules, 2 publishes, ", out)
}

// testPublishGoes takes the doors away, with a request that is under way.
func (g *gate) testPublishGoes(t *testing.T, at string) {
	p := nettest.Dial(t, at).Say("PUT /api/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n").Chunk("begun")
	g.write(t, "rules.toml", e2eRules)
	status, body := g.reload(t)
	require.Equal(t, http.StatusOK, status, body)
	require.Contains(t, body, "publish emerge goes away")
	_, err := p.Ended()
	require.Error(t, err, "it looks complete")
	_, code := g.ask(t, "http://"+at+"/api/x")
	require.Equal(t, 7, code, "curl could not connect")
}
