package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
)

const e2eRules = `version = 1
[[client]]
name = "agents"
from = ["127.0.0.1"]
[[pack]]
name = "emerge-server"
clients = ["agents"]
[[pack]]
name = "xporter"
clients = ["agents"]
[[allow]]
name  = "region"
hosts = ["west.example.org", "mixed.example.org"]
ports = [443, 9352]
addresses = ["northeurope"]
`

// world is the internet as the gate under test sees it.
func world(t *testing.T) *nettest.DNS {
	dns := nettest.NewDNS(t,
		"www.groupcall.co.uk. 300 IN A 127.0.0.2",
		// An alias chain in the form of Service Bus's own; the names are invented.
		"emergeen.servicebus.windows.net. 9 IN CNAME ns-sb2-prod-db3-001.trafficmanager.net.",
		"ns-sb2-prod-db3-001.trafficmanager.net. 299 IN CNAME ns-sb2-prod-db3-001-s1.cloudapp.net.",
		"ns-sb2-prod-db3-001-s1.cloudapp.net. 9 IN A 127.0.0.3",
		"g0-prod-db3-001-sb.servicebus.windows.net. 9 IN A 127.0.0.3",
		"west.example.org. 60 IN A 127.0.0.4",
		"mixed.example.org. 60 IN A 127.0.0.4",
		"mixed.example.org. 60 IN A 127.0.0.3",
	)
	updates := http.NewServeMux()
	updates.HandleFunc("/update.inf", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprint(w, "[Version]\r\nNumber=1\r\n")
	})
	updates.HandleFunc("/portal.inf", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<html>please log in</html>")
	})
	plain := httptest.NewServer(updates)
	t.Cleanup(plain.Close)
	expose(t, "127.0.0.2:80", plain.Listener.Addr().String())
	secure := httptest.NewTLSServer(updates)
	t.Cleanup(secure.Close)
	expose(t, "127.0.0.2:443", secure.Listener.Addr().String())

	bus := nettest.NewServiceBus(t, "emergeen.servicebus.windows.net")
	bus.Port = 80
	expose(t, "127.0.0.3:80", bus.Addr)
	expose(t, "127.0.0.3:443", nettest.NewTLSOrigin(t, "emergeen.servicebus.windows.net").Addr)
	amqp, _ := nettest.NewAMQPPeer(t)
	expose(t, "127.0.0.3:5672", amqp)
	return dns
}

func TestEndToEnd(t *testing.T) {
	needTools(t)
	dns := world(t)
	g := newGate(t, buildBinary(t), e2eRules, dns)
	g.start(t)

	t.Run("an inf as text/plain passes and as text/html is refused", func(t *testing.T) { g.testTypes(t) })
	t.Run("a tunnel passes with its own server name and with no other", func(t *testing.T) { g.testServerName(t) })
	t.Run("the Service Bus pattern completes", func(t *testing.T) { g.testServiceBus(t) })
	t.Run("names are answered inside the region and refused outside", func(t *testing.T) { g.testNames(t, dns) })
	t.Run("a reload under load loses no request", func(t *testing.T) { g.testReload(t) })
	t.Run("explain agrees, and knows a decision by its id", func(t *testing.T) { g.testExplain(t) })
	t.Run("the rules in force decide what they decided", func(t *testing.T) { g.testReplay(t) })
	t.Run("the last good file survives", func(t *testing.T) { g.testLastGood(t) })
}

func (g *gate) testTypes(t *testing.T) {
	before := g.decisions(t)
	out, code := g.curl(t, "-f", "http://www.groupcall.co.uk/update.inf")
	require.Zero(t, code, out)
	require.Equal(t, "[Version]\r\nNumber=1\r\n", out)

	out, _ = g.curl(t, "-i", "-H", "Accept: text/plain", "http://www.groupcall.co.uk/portal.inf")
	require.Contains(t, out, "HTTP/1.1 403 ")
	require.Regexp(t, `(?i)proxy-status: gatehouse; error=http_request_denied; details="?type-not-listed`, out)
	require.Regexp(t, `(?i)x-gatehouse-decision: GH-[0-9A-HJKMNP-TV-Z]{8}`, out)
	require.NotContains(t, out, "please log in")
	require.NotContains(t, out, "127.0.0.2")

	out, _ = g.curl(t, "-o", "/dev/null", "-w", "%{http_code}", "http://www.example.org/")
	require.Equal(t, "403", out)
	out, _ = g.curl(t, "-o", "/dev/null", "-w", "%{http_code}", "-X", "DELETE", "http://www.groupcall.co.uk/update.inf")
	require.Equal(t, "403", out)

	g.eventually(t, "four exchanges are counted", func() bool { return total(since(before, g.decisions(t))) >= 4 })
	got := since(before, g.decisions(t))
	require.Equal(t, 4, total(got), "each exchange is counted once: %v", got)
	require.Equal(t, 1, got["http denied host-not-listed "], "%v", got)
	require.Equal(t, 1, countOf(got, "http denied type-not-listed"), "%v", got)
	require.Equal(t, 1, countOf(got, "http denied method-not-listed"), "%v", got)
	require.Equal(t, 1, countOf(got, "http allowed matched xporter/"), "%v", got)
}

func total(counts map[string]int) (n int) { return countOf(counts, "") }

// countOf adds up the decisions whose labels begin with prefix.
func countOf(counts map[string]int, prefix string) (n int) {
	for k, v := range counts {
		if strings.HasPrefix(k, prefix) {
			n += v
		}
	}
	return n
}

func (g *gate) testServerName(t *testing.T) {
	before := g.decisions(t)
	out, code := g.curl(t, "-k", "-f", "https://www.groupcall.co.uk/update.inf")
	require.Zero(t, code, out)
	require.Contains(t, out, "[Version]")
	// curl asks for a tunnel to the listed host and says another name inside.
	out, code = g.curl(t, "-k", "--connect-to", "evil.example:443:www.groupcall.co.uk:443", "https://evil.example/update.inf")
	require.NotZero(t, code)
	require.NotContains(t, out, "[Version]")
	out, code = g.curl(t, "-k", "-w", "%{http_connect}", "https://www.example.org/")
	require.NotZero(t, code)
	require.Contains(t, out, "403")

	g.eventually(t, "three tunnels are counted", func() bool { return total(since(before, g.decisions(t))) == 3 })
	got := since(before, g.decisions(t))
	require.Equal(t, 1, countOf(got, "connect allowed matched"), "%v", got)
	require.Equal(t, 1, countOf(got, "connect denied sni-mismatch"), "%v", got)
	require.Equal(t, 1, countOf(got, "connect denied host-not-listed"), "%v", got)
}

func (g *gate) testServiceBus(t *testing.T) {
	before := g.decisions(t)
	require.NoError(t, nettest.WebStream(g.proxy, "emergeen.servicebus.windows.net"))
	g.eventually(t, "the three exchanges are counted", func() bool {
		return countOf(since(before, g.decisions(t)), "http allowed matched") == 3
	})
	// The WebSocket mode: the old client's CONNECT is HTTP/1.0 and has no Host.
	in, conn := g.oldTunnel(t, "emergeen.servicebus.windows.net:443")
	require.NotNil(t, in)
	inner := tls.Client(conn, &tls.Config{ServerName: "emergeen.servicebus.windows.net", InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
	echo(t, inner)
	inner.Close()

	_, amqp := g.oldTunnel(t, "emergeen.servicebus.windows.net:5672")
	_, err := io.WriteString(amqp, nettest.AMQPHeader)
	require.NoError(t, err)
	back := make([]byte, len(nettest.AMQPHeader))
	_, err = io.ReadFull(amqp, back)
	require.NoError(t, err)
	require.Equal(t, nettest.AMQPHeader, string(back))
	amqp.Close()
}

// oldTunnel opens a tunnel as Microsoft's older library does.
func (g *gate) oldTunnel(t *testing.T, target string) (*bufio.Reader, net.Conn) {
	t.Helper()
	p := nettest.Dial(t, g.proxy)
	p.Say("CONNECT %s HTTP/1.0\r\nProxy-Connection: Keep-Alive\r\n\r\n", target)
	require.True(t, strings.HasPrefix(p.Head(), "HTTP/1.0 200 "))
	require.Zero(t, p.In.Buffered())
	return p.In, p.Conn
}

func echo(t *testing.T, conn io.ReadWriter) {
	t.Helper()
	for _, s := range []string{"\x01\x02\x03\x04", "\x01\x02\x03\x04"} {
		_, err := io.WriteString(conn, s)
		require.NoError(t, err)
		back := make([]byte, len(s))
		_, err = io.ReadFull(conn, back)
		require.NoError(t, err)
		require.Equal(t, s, string(back))
	}
}

func (g *gate) testNames(t *testing.T, dns *nettest.DNS) {
	before := g.decisions(t)
	queries := func() map[string]int { return g.counts(t, "gatehouse_dns_queries_total", "verdict", "qtype") }
	upstream := func() map[string]int { return g.counts(t, "gatehouse_dns_upstream_duration_seconds_count", "upstream") }
	queriesBefore, upstreamBefore := queries(), upstream()
	out := g.dig(t, "emergeen.servicebus.windows.net")
	require.Contains(t, out, "status: NOERROR")
	require.Regexp(t, `cloudapp\.net\.\s+\d+\s+IN\s+A\s+127\.0\.0\.3`, out)

	out = g.dig(t, "west.example.org")
	require.Contains(t, out, "status: NOERROR")
	require.Contains(t, out, "ANSWER: 0")
	require.NotContains(t, out, "127.0.0.4", "outside the region, in no section")
	require.Regexp(t, `EDE: 15.*address-not-allowed GH-`, out)

	out = g.dig(t, "mixed.example.org")
	require.Contains(t, out, "127.0.0.3")
	require.NotContains(t, out, "127.0.0.4", "one good and one bad address: the bad one nowhere")

	asked := dns.Asked("", "")
	out = g.dig(t, "+tcp", "www.example.org")
	require.Contains(t, out, "status: NXDOMAIN")
	require.Regexp(t, `EDE: 15.*host-not-listed GH-`, out)
	out = g.dig(t, "mask.icloud.com")
	require.Contains(t, out, "status: NXDOMAIN")
	out = g.dig(t, "emergeen.servicebus.windows.net", "TYPE65")
	require.Contains(t, out, "ANSWER: 0")
	out = g.dig(t, "ns-sb2-prod-db3-001-s1.cloudapp.net")
	require.Contains(t, out, "status: NXDOMAIN", "an alias is no permitted name of its own")
	require.Equal(t, asked, dns.Asked("", ""), "nothing of these was asked upstream")

	got := since(before, g.decisions(t))
	require.Equal(t, 7, countOf(got, "dns "), "%v", got)
	require.Equal(t, 2, countOf(got, "dns allowed matched"), "%v", got)
	require.Equal(t, 1, countOf(got, "dns denied address-not-allowed region"), "%v", got)
	require.Equal(t, 2, countOf(got, "dns denied host-not-listed"), "%v", got)
	require.Equal(t, 1, countOf(got, "dns denied canary"), "%v", got)
	require.Equal(t, 1, countOf(got, "dns denied query-type-not-allowed"), "%v", got)
	require.Equal(t, map[string]int{"allowed A": 2, "denied A": 4, "denied HTTPS": 1}, since(queriesBefore, queries()))
	answered := since(upstreamBefore, upstream())
	require.GreaterOrEqual(t, answered[dns.Addr], 2, "west and mixed were asked for, and perhaps what was about to run out")
	require.Len(t, answered, 1)
}

// testReload reloads again and again while clients ask on kept and on new
// connections: every request is answered as the rules say.
func (g *gate) testReload(t *testing.T) {
	var failed, asked atomic.Int64
	var clients sync.WaitGroup
	stop := make(chan struct{})
	for i := range 4 {
		clients.Go(func() {
			transport := &http.Transport{DisableKeepAlives: i%2 == 0,
				Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: g.proxy})}
			defer transport.CloseIdleConnections()
			for {
				select {
				case <-stop:
					return
				default:
				}
				resp, err := (&http.Client{Transport: transport}).Get("http://www.groupcall.co.uk/update.inf")
				if err != nil || resp.StatusCode != http.StatusOK {
					failed.Add(1)
				}
				if err == nil {
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
				asked.Add(1)
			}
		})
	}
	for i := range 10 {
		g.write(t, "rules.toml", e2eRules+strings.Repeat("# again\n", i))
		code, said := g.reload(t)
		require.Equal(t, http.StatusOK, code, said)
	}
	evil := strings.Replace(e2eRules, `name = "xporter"`, `name = "xportr"`, 1)
	g.write(t, "rules.toml", evil)
	code, said := g.reload(t)
	require.Equal(t, http.StatusUnprocessableEntity, code)
	require.Contains(t, said, "rules.toml:")
	require.Contains(t, said, "xporter", "did you mean")
	_, metrics := g.get("/metrics")
	require.Contains(t, metrics, "gatehouse_rules_last_reload_successful 0")
	code, _ = g.get("/readyz")
	require.Equal(t, http.StatusOK, code, "the old rules are in force")
	close(stop)
	clients.Wait()
	require.Positive(t, asked.Load())
	require.Zero(t, failed.Load(), "of %d requests", asked.Load())

	g.write(t, "rules.toml", e2eRules)
	out, status := tool(t, g.bin, "reload", "--config", g.path("gatehouse.toml"))
	require.Zero(t, status, out)
	_, metrics = g.get("/metrics")
	require.Contains(t, metrics, "gatehouse_rules_last_reload_successful 1")
}

func (g *gate) testExplain(t *testing.T) {
	config := g.path("gatehouse.toml")
	for target, code := range map[string]int{
		"GET http://www.groupcall.co.uk/update.inf -> text/plain": 0,
		"GET http://www.groupcall.co.uk/update.inf -> text/html":  1,
		"CONNECT emergeen.servicebus.windows.net:9352":            0,
		"CONNECT emergeen.servcebus.windows.net:9352":             1,
		"DNS west.example.org = 127.0.0.4":                        1,
		"DNS west.example.org = 127.0.0.3":                        0,
	} {
		out, got := tool(t, g.bin, "explain", "--config", config, target)
		require.Equal(t, code, got, "%s: %s", target, out)
	}
	out, _ := g.curl(t, "-i", "http://www.example.org/")
	_, rest, _ := strings.Cut(out, "X-Gatehouse-Decision: ")
	id, _, _ := strings.Cut(rest, "\r\n")
	g.eventually(t, "the decision is known by its id, soon after its answer", func() bool {
		out, code := tool(t, g.bin, "explain", "--config", config, id)
		return code == 1 && strings.Contains(out, "host-not-listed")
	})
}

func (g *gate) testLastGood(t *testing.T) {
	g.kill()
	g.write(t, "rules.toml", "version = 1\n[[allow\n")
	g.start(t)
	out, code := g.curl(t, "-f", "http://www.groupcall.co.uk/update.inf")
	require.Zero(t, code, out)
	code, said := g.get("/readyz")
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, said, "last good")

	g.kill()
	require.NoError(t, os.RemoveAll(g.path("state")))
	g.start(t)
	out, _ = g.curl(t, "-i", "http://www.groupcall.co.uk/update.inf")
	require.Contains(t, out, "HTTP/1.1 403 ")
	require.Contains(t, out, "no-policy")
	require.Contains(t, g.dig(t, "www.groupcall.co.uk"), "status: REFUSED")
	code, _ = g.get("/readyz")
	require.Equal(t, http.StatusServiceUnavailable, code)
	code, said = g.get("/")
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, said, "rules.toml:2")

	g.write(t, "rules.toml", e2eRules)
	code, said = g.reload(t)
	require.Equal(t, http.StatusOK, code, said)
	out, code = g.curl(t, "-f", "http://www.groupcall.co.uk/update.inf")
	require.Zero(t, code, out)
	require.Zero(t, g.terminate(t))
}

// testReplay has the rules decide everything anew that they decided so far. What
// the names of the tests' world lead to is public to the gate under test only.
func (g *gate) testReplay(t *testing.T) {
	g.eventually(t, "the decision log has been written", func() bool {
		text, err := os.ReadFile(g.path("decisions.json"))
		return err == nil && bytes.Count(text, []byte("\n")) > 10
	})
	out, err := exec.Command(g.bin, "replay", "--config", g.path("gatehouse.toml"), g.path("decisions.json")).CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "nothing would be decided otherwise\n")
}
