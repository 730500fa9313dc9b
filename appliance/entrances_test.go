package appliance

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/appliance/alarm"
	"gatehouse/internal/nettest"
)

// publishText is a rules file with a door to the site's origin.
const publishText = `version = 1

[[client]]
name = "here"
from = "127.0.0.0/8"

[[publish]]
name    = "emerge"
clients = "here"
listen  = "127.0.0.1:0"
to      = "http://127.0.0.1:PORT"
paths   = "/api/*"
`

// published is where the only published door is.
func (s *site) published() string {
	s.t.Helper()
	list := s.Addresses()["publish"]
	require.Len(s.t, list, 1)
	return list[0]
}

// take puts rules into force.
func (s *site) take(rules string) string {
	s.t.Helper()
	status, body := s.reload(rules)
	require.Equal(s.t, 200, status, body)
	return body
}

func TestPublishedDoorsFollowTheRules(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	require.Empty(t, s.Addresses()["publish"])
	require.Contains(t, s.take(publishText), "publish emerge is new: here may reach http://127.0.0.1:"+s.port+" through 127.0.0.1:0")
	at := s.published()
	status, body := s.ask("GET", "http://"+at+"/api/x", nil)
	require.Equal(t, 200, status)
	require.Equal(t, "[version]\n", body)
	status, _ = s.ask("GET", "http://"+at+"/other", nil)
	require.Equal(t, 403, status)
	status, _ = s.ask("DELETE", "http://"+at+"/api/x", nil)
	require.Equal(t, 403, status)

	// What comes in is no way out, nor a way to the gate itself.
	_, _, refused := s.connect(at)
	require.Equal(t, 403, refused.StatusCode)

	// A door that stays is not interrupted: the same connection serves on.
	conn, err := net.Dial("tcp", at)
	require.NoError(t, err)
	kept := nettest.NewPeer(t, conn)
	ask := func(path string) int {
		resp, _ := kept.Say("GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path).Response("GET")
		return resp.StatusCode
	}
	require.Equal(t, 200, ask("/api/x"))
	require.Contains(t, s.take(strings.Replace(publishText, "/api/*", "/other/*", 1)), "publish emerge changes: paths +/other/* -/api/*")
	require.Equal(t, at, s.published())
	require.Equal(t, 403, ask("/api/x"))
	require.Equal(t, 200, ask("/other/x"))

	require.Contains(t, s.take(rulesText), "publish emerge goes away")
	require.Empty(t, s.Addresses()["publish"])
	kept.Ended()
	_, err = net.Dial("tcp", at)
	require.Error(t, err, "the door is closed")

	require.NoError(t, s.stop())
	text := scrape(t, s.tally)
	for _, want := range []string{
		`gatehouse_decisions_total{reason="matched",rule="emerge",surface="publish",verdict="allowed"} 3`,
		`gatehouse_decisions_total{reason="path-not-listed",rule="emerge",surface="publish",verdict="denied"} 2`,
		`gatehouse_decisions_total{reason="method-not-listed",rule="emerge",surface="publish",verdict="denied"} 1`,
		`gatehouse_open_connections{surface="publish"} 0`,
	} {
		require.Contains(t, text, want+"\n")
	}
	require.Contains(t, s.log.String(), `"surface":"publish"`)
	require.Contains(t, s.log.String(), `"publish":"emerge"`)
}

func TestADecisionAtAPublishedDoorIsExplained(t *testing.T) {
	t.Parallel()
	s := newSite(t, publishText)
	resp, err := browser.Get("http://" + s.published() + "/other")
	require.NoError(t, err)
	resp.Body.Close()
	id := resp.Header.Get("X-Gatehouse-Decision")
	a := s.account(id)
	require.Equal(t, "denied path-not-listed emerge", a.Verdict+" "+a.Reason+" "+a.Rule)
	require.Equal(t, "PUBLISH emerge GET /other", a.Passage)
	require.Equal(t, `add "/other" to paths`, a.Nearest.Change)
	answer, err := window{s.Appliance}.Ask("127.0.0.1", "PUBLISH emerge GET /api/x")
	require.NoError(t, err)
	require.Equal(t, "allowed", answer.Verdict)
	answer, err = window{s.Appliance}.Ask("127.0.0.1", "PUBLISH emerge GET /other")
	require.NoError(t, err)
	require.Equal(t, `paths   = ["/api/*", "/other"]`, answer.Proposal)
}

// A door that cannot be opened is told of, and everything else serves.
func TestADoorThatCannotBeOpenedKeepsNobodyElseFromServing(t *testing.T) {
	t.Parallel()
	other, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer other.Close()
	text := publishText + fmt.Sprintf(`
[[publish]]
name    = "taken"
clients = "here"
listen  = %q
to      = "http://127.0.0.1:PORT"

[[publish]]
name    = "unsigned"
clients = "here"
listen  = "127.0.0.1:0"
to      = "http://127.0.0.1:PORT"
tls     = "emerge.pem"
`, other.Addr())
	s := newSite(t, text)
	status, _ := s.ask("GET", "http://"+s.published()+"/api/x", nil)
	require.Equal(t, 200, status)
	status, ready := s.admin("GET", "/readyz")
	require.Equal(t, 200, status)
	require.Contains(t, ready, "warning: publish taken at "+other.Addr().String()+": it is not served: ")
	require.Contains(t, ready, "is another program using it?")
	require.Contains(t, ready, "warning: publish unsigned at 127.0.0.1:0: it is not served: its certificate cannot be used: ")
	require.Equal(t, 1, strings.Count(s.said.String(), `publish=taken`), "it is said once")
	told := map[string]string{}
	for _, c := range s.wrong() {
		told[string(c.Kind)] = c.Subject + ": " + c.Says
	}
	require.Contains(t, told["door-closed"], "publish taken at "+other.Addr().String())
	require.Contains(t, told["door-closed"], "is another program using it?")
	require.Contains(t, told["certificate-ends"], "publish unsigned at 127.0.0.1:0", "that is the one alarm about it")

	// What was in the way goes, and the certificate comes: nobody has to reload.
	other.Close()
	s.certificate("emerge.pem", nettest.NewAuthority(t, "school"))
	require.Eventually(t, func() bool { return len(s.Addresses()["publish"]) == 3 }, nettest.Patience, 10*time.Millisecond)
	_, ready = s.admin("GET", "/readyz")
	require.NotContains(t, ready, "is not served")
	require.Contains(t, ready, "published: unsigned at 127.0.0.1:")
	for _, c := range s.wrong() {
		require.NotEqual(t, alarm.DoorClosed, c.Kind)
	}
}

// certificate writes a certificate for localhost with its key.
func (s *site) certificate(name string, by *nettest.Authority) {
	s.t.Helper()
	pair := by.Sign(s.t, nil, "localhost", "127.0.0.1")
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	require.NoError(s.t, err)
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
	for _, der := range pair.Certificate {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	path := filepath.Join(s.dir, name)
	require.NoError(s.t, os.WriteFile(path+".new", text, 0o600))
	require.NoError(s.t, os.Rename(path+".new", path))
}

func TestARenewedCertificateIsShownWithoutAReload(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	old, renewed := nettest.NewAuthority(t, "old"), nettest.NewAuthority(t, "renewed")
	s.certificate("emerge.pem", old)
	s.take(publishText + "tls = \"emerge.pem\"\n")
	at := s.published()
	ask := func(by *nettest.Authority) (string, error) {
		client := http.Client{Timeout: nettest.Patience, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: by.Roots}}}
		resp, err := client.Get("https://" + at + "/api/x")
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return string(body), err
	}
	body, err := ask(old)
	require.NoError(t, err)
	require.Equal(t, "[version]\n", body)

	// One that cannot be used leaves the one before in use, and that is said.
	write(t, filepath.Join(s.dir, "emerge.pem"), "-----BEGIN NONSENSE-----\n")
	require.Eventually(t, func() bool {
		_, ready := s.admin("GET", "/readyz")
		return strings.Contains(ready, "the one before is still shown")
	}, nettest.Patience, 10*time.Millisecond)
	_, err = ask(old)
	require.NoError(t, err)

	s.certificate("emerge.pem", renewed)
	require.Eventually(t, func() bool { _, err := ask(renewed); return err == nil }, nettest.Patience, 10*time.Millisecond)
	_, err = ask(old)
	require.Error(t, err)
	require.Equal(t, at, s.published(), "the door stayed open")
	_, ready := s.admin("GET", "/readyz")
	require.Contains(t, ready, "its certificate ends on", "those of tests are good for the day")
}
