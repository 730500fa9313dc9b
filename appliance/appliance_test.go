package appliance

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

func TestTheWholeGate(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)

	status, body := s.get("/update.inf?key=secret")
	require.Equal(t, 200, status)
	require.Equal(t, "[version]\n", body)
	status, body = s.get("/html.inf")
	require.Equal(t, 403, status)
	require.Contains(t, body, "GH-")

	conn, in, resp := s.connect("relay.groupcall.test:" + s.echo)
	require.Equal(t, 200, resp.StatusCode)
	_, err := conn.Write([]byte("ping\n"))
	require.NoError(t, err)
	line, err := in.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "ping\n", line)
	conn.Close()
	_, _, refused := s.connect("relay.groupcall.test:22")
	require.Equal(t, 403, refused.StatusCode)
	id := refused.Header.Get("X-Gatehouse-Decision")

	require.Equal(t, "127.0.0.1", s.query("www.groupcall.test.").Answer[0].(*dns.A).A.String())
	require.Equal(t, dns.RcodeNameError, s.query("www.example.org.").Rcode)

	a := s.account(strings.ToLower(id))
	require.Equal(t, "denied", a.Verdict)
	require.Equal(t, "port-not-listed", a.Reason)
	require.Equal(t, "relay", a.Nearest.Rule)
	require.Equal(t, id, a.ID)

	require.NoError(t, s.stop())
	text := scrape(t, s.tally)
	for _, want := range []string{
		`gatehouse_decisions_total{reason="matched",rule="updates",surface="http",verdict="allowed"} 1`,
		`gatehouse_decisions_total{reason="type-not-listed",rule="updates",surface="http",verdict="denied"} 1`,
		`gatehouse_decisions_total{reason="matched",rule="relay",surface="connect",verdict="allowed"} 1`,
		`gatehouse_decisions_total{reason="port-not-listed",rule="relay",surface="connect",verdict="denied"} 1`,
		`gatehouse_decisions_total{reason="matched",rule="updates",surface="dns",verdict="allowed"} 1`,
		`gatehouse_decisions_total{reason="host-not-listed",rule="",surface="dns",verdict="denied"} 1`,
		`gatehouse_open_connections{surface="http"} 0`,
		`gatehouse_open_connections{surface="connect"} 0`,
		`gatehouse_relayed_bytes_total{direction="sent",surface="connect"} 5`,
		`gatehouse_relayed_bytes_total{direction="received",surface="connect"} 5`,
	} {
		require.Contains(t, text, want+"\n")
	}
	require.Equal(t, 6, strings.Count(text, "\ngatehouse_decisions_total{"), "exactly the decisions made")

	var reasons []string
	for line := range strings.Lines(s.log.String()) {
		var d struct{ Reason, Path string }
		require.NoError(t, json.Unmarshal([]byte(line), &d))
		reasons = append(reasons, d.Reason)
	}
	require.ElementsMatch(t, []string{"matched", "type-not-listed", "matched", "port-not-listed", "matched", "host-not-listed"}, reasons)
	require.NotContains(t, s.log.String(), "secret", "query strings are never written down")
}

func TestReloadUnderLoadLosesNoRequest(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	const workers, each = 4, 60
	var all sync.WaitGroup
	statuses := make(chan int, workers*each)
	for range workers {
		all.Go(func() {
			proxy := http.ProxyURL(&url.URL{Scheme: "http", Host: s.address("proxy")})
			transport := &http.Transport{Proxy: proxy}
			defer transport.CloseIdleConnections()
			client := &http.Client{Transport: transport, Timeout: 20 * time.Second}
			for range each {
				resp, err := client.Get("http://www.groupcall.test:" + s.port + "/update.inf")
				if err != nil {
					statuses <- -1
					continue
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				statuses <- resp.StatusCode
			}
		})
	}
	for i := range 20 {
		text := rulesText + fmt.Sprintf("\n# version %d\n", i)
		if i%2 == 1 {
			text = "this is no rules file\n"
		}
		status, _ := s.reload(text)
		require.Equal(t, map[bool]int{true: 422, false: 200}[i%2 == 1], status)
	}
	all.Wait()
	close(statuses)
	for status := range statuses {
		require.Equal(t, 200, status)
	}
	require.NoError(t, s.stop()) // an exchange is counted after its answer
	require.Contains(t, scrape(t, s.tally), fmt.Sprintf(
		`gatehouse_decisions_total{reason="matched",rule="updates",surface="http",verdict="allowed"} %d`, workers*each))
}

func TestPassagesEndWithTheirPermission(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	conn, in, resp := s.connect("relay.groupcall.test:" + s.echo)
	require.Equal(t, 200, resp.StatusCode)
	_, err := conn.Write([]byte("x"))
	require.NoError(t, err)
	_, err = in.ReadByte()
	require.NoError(t, err)

	s.setRules(strings.Replace(rulesText, "relay.groupcall.test", "other.groupcall.test", 1))
	s.hangup <- syscall.SIGHUP
	_, err = in.ReadByte()
	require.Error(t, err, "the tunnel ends")
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, s.stop())
	require.Contains(t, s.log.String(), `"end":"policy"`)
}

func TestAChangedFileIsNoticedByItself(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	before := s.live.Policy()
	s.setRules(rulesText + "\n[[deny]]\nname = \"no-more\"\nhosts = \"www.groupcall.test\"\n")
	require.Eventually(t, func() bool { return s.live.Policy() != before }, 20*time.Second, 20*time.Millisecond)
	status, _ := s.get("/update.inf")
	require.Equal(t, 403, status)
}

func TestTheAdminListenerTellsTheState(t *testing.T) {
	t.Parallel()
	s := newSite(t, "") // no rules file
	status, body := s.admin("GET", "/readyz")
	require.Equal(t, 503, status)
	require.Contains(t, body, "everything is refused")
	require.Contains(t, body, "the file is not there")
	status, _ = s.get("/update.inf")
	require.Equal(t, 403, status)
	require.Equal(t, dns.RcodeRefused, s.query("www.groupcall.test.").Rcode)
	status, body = s.admin("GET", "/")
	require.Equal(t, 200, status)
	require.Contains(t, body, "no-policy")
	require.Contains(t, body, "the file is not there")

	status, body = s.reload(strings.Replace(rulesText, "www.groupcall.test", "www.groupcall.test/<b>", 1))
	require.Equal(t, 422, status)
	require.Contains(t, body, "rules.toml:9:12: error GH01")
	status, body = s.admin("GET", "/rules")
	require.Equal(t, 200, status)
	require.NotContains(t, body, "<b>", "what stands in a file is text, not markup")
	require.Contains(t, body, "&lt;b&gt;")

	status, body = s.reload("mode = \"monitor\"\n" + rulesText)
	require.Equal(t, 200, status, body)
	require.Contains(t, body, "mode: monitor, was nothing in force")
	status, body = s.admin("GET", "/readyz")
	require.Equal(t, 200, status)
	require.Contains(t, body, "mode: monitor")
	status, _ = s.admin("GET", "/-/reload")
	require.Equal(t, 405, status, "reading changes nothing")
	status, _ = s.admin("GET", "/nothing")
	require.Equal(t, 404, status)
}

func TestTheMetricsListenerServesNothingElse(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	for path, want := range map[string]int{"/metrics": 200, "/healthz": 200, "/readyz": 200, "/": 404} {
		status, _ := s.ask("GET", "http://"+s.address("metrics")+path, nil)
		require.Equal(t, want, status, path)
	}
	status, _ := s.ask("POST", "http://"+s.address("metrics")+"/-/reload", nil)
	require.Equal(t, 404, status)
}

func TestNoRuleLeadsToTheAppliancesOwnListeners(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	for _, door := range []string{"admin", "proxy", "dns", "metrics"} {
		_, port, err := net.SplitHostPort(s.address(door))
		require.NoError(t, err)
		status, body := s.reload(rulesText + "\n[[allow]]\nname = \"own\"\nhosts = \"relay.groupcall.test\"\nprotocol = \"tcp\"\nports = " + port + "\n")
		require.Equal(t, 200, status, body)
		_, _, resp := s.connect("relay.groupcall.test:" + port)
		require.NotEqual(t, 200, resp.StatusCode, door)
	}
}

func TestTheEnvironmentsProxyChangesNothing(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://192.0.2.1:1")
	t.Setenv("HTTPS_PROXY", "http://192.0.2.1:1")
	s := newSite(t, rulesText)
	status, _ := s.get("/update.inf")
	require.Equal(t, 200, status)
	config, _, err := Files{Config: filepath.Join(s.dir, "gatehouse.toml")}.ReadConfig()
	require.NoError(t, err)
	config.Listen.Admin = address(s.address("admin"))
	require.NoError(t, config.Healthy(t.Context()))
}

func TestAServerToAskThatIsTheGateItselfIsRefused(t *testing.T) {
	for _, c := range []struct {
		name, setting, want string
	}{
		{"for all names", "upstreams = %q", "dns.upstreams: "},
		{"for a zone", "[[dns.forward]]\nzone = \"school.test\"\nservers = %q", "dns.forward of school.test: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.79:0") // nothing else listens there
			require.NoError(t, err)
			at := ln.Addr().String()
			require.NoError(t, ln.Close())
			config, problems := ParseConfig(filepath.Join(t.TempDir(), "gatehouse.toml"), fmt.Appendf(nil,
				"[listen]\nproxy = []\nadmin = \"127.0.0.1:0\"\ndns = %q\n[dns]\n"+c.setting+"\n", at, at))
			require.Empty(t, problems)
			err = New(Options{Config: config, Log: quiet(), Stdout: io.Discard}).Listen()
			require.ErrorContains(t, err, c.want+at+" is this gatehouse's own DNS listener")
		})
	}
}

func TestAnAddressThatIsTakenIsSaidAndLeavesNothingOpen(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	c := DefaultConfig()
	c.State.Dir = t.TempDir()
	c.Listen.Proxy, c.Listen.DNS = []Address{address("127.0.0.1:0")}, []Address{address("127.0.0.1:0")}
	c.Listen.Admin = address(ln.Addr().String())
	err = New(Options{Config: &c, Log: quiet(), Stdout: io.Discard}).Listen()
	require.ErrorContains(t, err, "listen.admin")
	require.ErrorContains(t, err, "free it, or change listen.admin")
}

func TestTheCommandSocketIsForItsOwnerOnly(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	info, err := os.Stat(filepath.Join(s.dir, "state", socketName))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	_, err = openSocket(filepath.Join(s.dir, "state"))
	require.ErrorIs(t, err, errOtherGate, "and is not taken from a living one")

	control := NewControl(filepath.Join(s.dir, "state"))
	taken, words, err := control.Reload(t.Context(), false)
	require.NoError(t, err)
	require.True(t, taken)
	require.Contains(t, words, "no rule changes")
	_, err = control.Decision(t.Context(), "GH-00000000")
	require.ErrorContains(t, err, "neither among the last")

	require.NoError(t, s.stop())
	_, _, err = control.Reload(t.Context(), false)
	require.ErrorIs(t, err, ErrNotRunning)
	s.start() // the next one takes the place of what was left
	_, _, err = control.Reload(t.Context(), false)
	require.NoError(t, err)
}

func TestChangedServiceTagsComeIntoForceByThemselves(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	tags := func(number int, prefix string) string {
		return fmt.Sprintf(`{"changeNumber":%d,"cloud":"Public","values":[{"name":"AzureCloud.northeurope","id":"AzureCloud.northeurope",`+
			`"properties":{"changeNumber":1,"region":"northeurope","platform":"Azure","systemService":"","addressPrefixes":[%q]}}]}`+"\n", number, prefix)
	}
	folder := filepath.Join(s.dir, "tags")
	write(t, filepath.Join(folder, "ServiceTags_Public_20260302.json"), tags(1, "192.0.2.0/24"))
	s.setRules(rulesText + "\n[[allow]]\nname = \"region\"\nhosts = \"cloud.groupcall.test\"\nports = " + s.echo + "\naddresses = \"northeurope\"\n")
	s.dns.Zone(t, "cloud.groupcall.test. 1 IN A 198.51.100.7")
	s.configure("[azure]\ntags = \"tags\"\n")
	require.Empty(t, s.query("cloud.groupcall.test.").Answer, "outside the region")

	before := s.live.Policy()
	write(t, filepath.Join(folder, "ServiceTags_Public_20260309.json"), tags(2, "198.51.100.0/24"))
	require.Eventually(t, func() bool { return s.live.Policy() != before }, 20*time.Second, 20*time.Millisecond)
	require.Len(t, s.query("cloud.groupcall.test.").Answer, 1, "the region has grown")
	require.Contains(t, scrape(t, s.tally), "gatehouse_azure_tags_change_number 2\n")

	inForce, lacking := s.tags.file(), strings.ReplaceAll(tags(3, "198.51.100.0/24"), "northeurope", "northeurope2")
	write(t, filepath.Join(folder, "ServiceTags_Public_20260316.json"), lacking)
	require.Eventually(t, func() bool { return s.rulebook.Status().Tags != "" }, 20*time.Second, 20*time.Millisecond)
	require.Same(t, inForce, s.tags.file(), "a file that lacks a tag in use changes nothing")
	require.Contains(t, s.rulebook.Status().Tags, "it lacks AzureCloud.northeurope, which the rules use")

	write(t, filepath.Join(folder, "ServiceTags_Public_20260323.json"), tags(1, "198.51.100.0/24"))
	require.Eventually(t, func() bool { return strings.Contains(s.rulebook.Status().Tags, "it is older") }, 20*time.Second, 20*time.Millisecond)
	require.Same(t, inForce, s.tags.file(), "an older file changes nothing")
	control := NewControl(s.Config.State.Dir)
	list, err := control.UsedAddresses(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 1, "what an import would ask after")
	require.Equal(t, "198.51.100.7", list[0].Addr.String())
	require.NoError(t, control.TakeTags(t.Context()), "it is meant")
	require.Equal(t, 1, s.tags.file().ChangeNumber)
	require.Empty(t, s.rulebook.Status().Tags)
	write(t, filepath.Join(folder, "ServiceTags_Public_20260330.json"), lacking)
	require.ErrorContains(t, control.TakeTags(t.Context()), "does not fit the rules in force", "what no rule can be made of is not taken, forced or not")
	require.Eventually(t, func() bool { return s.rulebook.Status().Tags != "" }, 20*time.Second, 20*time.Millisecond)
	_, body := s.admin("GET", "/readyz")
	require.Contains(t, body, "warning: ")
}

const webWithTLS = "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n"

// selfSigned writes a certificate for 127.0.0.1 and a web configuration that
// names it, with a login where one is given.
func selfSigned(t *testing.T, dir, login string) (roots *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	write(t, filepath.Join(dir, "cert.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, filepath.Join(dir, "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	text := webWithTLS
	if login != "" {
		text += "basic_auth_users:\n  " + login + "\n"
	}
	write(t, filepath.Join(dir, "web.yml"), text)
	roots = x509.NewCertPool()
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	roots.AddCert(cert)
	return roots
}

// login is the password "correct horse", hashed by bcrypt at its lowest cost.
const login = "admin: $2a$04$bIpqy5ww2iMSAmkbE7wDrufErZy3k1A7MrXA9l6GVNIRLkCDVXrgm"

func TestBeyondLoopbackTheAdminListenerAsksForLoginAndTLS(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	selfSigned(t, dir, "")
	_, problems := ParseConfig(filepath.Join(dir, "gatehouse.toml"), []byte("[listen]\nadmin = \"0.0.0.0:9080\"\nweb_config = \"web.yml\"\n"))
	require.Len(t, problems, 1)
	require.Contains(t, problems[0].Message, "asks for no login")

	roots := selfSigned(t, dir, login)
	config, problems := ParseConfig(filepath.Join(dir, "gatehouse.toml"),
		[]byte("[listen]\nproxy = []\ndns = []\nadmin = \"0.0.0.0:0\"\nweb_config = \"web.yml\"\n[state]\ndir = \"state\"\n"))
	require.Empty(t, problems)
	a := New(Options{Files: Files{Config: filepath.Join(dir, "gatehouse.toml"), Rules: filepath.Join(dir, "rules.toml")}, Config: config, Log: quiet(), Stdout: io.Discard})
	require.NoError(t, a.Listen())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	defer func() { cancel(); require.NoError(t, <-ended) }()
	_, port, err := net.SplitHostPort(a.Addresses()["admin"][0])
	require.NoError(t, err)
	ask := func(user string) int {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}
		req, err := http.NewRequest("GET", "https://127.0.0.1:"+port+"/healthz", nil)
		require.NoError(t, err)
		if user != "" {
			req.SetBasicAuth(user, "correct horse")
		}
		resp, err := (&http.Client{Transport: transport, Timeout: 20 * time.Second}).Do(req)
		require.NoError(t, err)
		resp.Body.Close()
		return resp.StatusCode
	}
	require.Equal(t, 401, ask(""))
	require.Equal(t, 200, ask("admin"))
	require.NoError(t, config.Healthy(t.Context()), "healthcheck goes by the socket")

	write(t, filepath.Join(dir, "web.yml"), webWithTLS) // somebody takes the login out of the file
	require.NotEqual(t, 200, ask(""), "the door closes; it does not open")
}

func TestASecondGateInAStateFolderLeavesTheFirstOnesLastGoodFileAlone(t *testing.T) {
	first := newSite(t, rulesText)
	kept, _, err := first.rulebook.kept.load()
	require.NoError(t, err)

	text := strings.Replace(fmt.Sprintf(siteConfig, first.dns.Addr), `"state"`, fmt.Sprintf("%q", filepath.Join(first.dir, "state")), 1)
	dir := t.TempDir()
	config, problems := ParseConfig(filepath.Join(dir, "gatehouse.toml"), []byte(text))
	require.Empty(t, problems)
	write(t, filepath.Join(dir, "rules.toml"), "rubbish")
	second := New(Options{Files: Files{Rules: filepath.Join(dir, "rules.toml")}, Config: config, Log: quiet(), Stdout: io.Discard})
	require.NoError(t, second.Listen())
	defer second.doors.close()
	second.rulebook.start()
	require.Equal(t, FromNowhere, second.rulebook.Status().Source, "the rules of another gate are not its own")
	write(t, filepath.Join(dir, "rules.toml"), allowing("a.example"))
	require.True(t, second.rulebook.Reload(cause{}, false).Taken)
	after, _, err := first.rulebook.kept.load()
	require.NoError(t, err)
	require.Equal(t, string(kept), string(after))
}
