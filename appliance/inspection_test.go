package appliance

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/appliance/doctor"
	"gatehouse/internal/ca"
)

const inspectedRules = rulesText + `
[[allow]]
name     = "inner"
hosts    = "inner.groupcall.test"
ports    = ECHO
protocol = "tls"
methods  = "GET"

[[allow]]
name  = "outer"
hosts = "outer.groupcall.test"
`

// eventually waits until the state page's sentences hold a text.
func (s *site) eventually(says string) {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		_, body := s.admin("GET", "/readyz")
		return strings.Contains(body, says)
	}, 30*time.Second, 50*time.Millisecond, says)
}

func TestInspectionWithoutACARefusesWhatItWouldLookInto(t *testing.T) {
	t.Parallel()
	s := newSite(t, inspectedRules)
	s.configure("[inspection]\nenabled = true\n")

	_, _, resp := s.connect("inner.groupcall.test:" + s.echo)
	require.Equal(t, 403, resp.StatusCode)
	require.Contains(t, resp.Header.Get("Proxy-Status"), `details="no-policy"`)
	conn, _, resp := s.connect("relay.groupcall.test:" + s.echo)
	require.Equal(t, 200, resp.StatusCode, "outer rules are enforced, and open what they permit")
	conn.Close()
	status, _ := s.get("/update.inf")
	require.Equal(t, 200, status)

	status, body := s.admin("GET", "/readyz")
	require.Equal(t, 200, status)
	require.Contains(t, body, "inspection is on and cannot begin: there is no inspection CA in "+filepath.Join(s.dir, "state", "ca")+"; run: gatehouse ca init")
	require.Contains(t, s.said.String(), "inspection is on and cannot begin")
	require.Contains(t, scrape(t, s.tally), "gatehouse_inspection_ca_expiry_timestamp_seconds 0\n")

	report, err := NewControl(s.Config.State.Dir).Doctor(t.Context(), Examination{})
	require.NoError(t, err)
	require.Equal(t, doctor.Failed, found(report.Checks, "inspection CA").State)
	require.Equal(t, "gatehouse ca init", found(report.Checks, "inspection CA").Fix)

	made, err := ca.Create(filepath.Join(s.dir, "state", "ca"), ca.Options{Domains: []string{"groupcall.test"}})
	require.NoError(t, err)
	s.eventually("inspection: on, for groupcall.test, under the CA")
	require.Equal(t, made.Issuer().Certificate, s.ca.authority().Issuer().Certificate)
	require.Eventually(t, func() bool {
		return !strings.Contains(scrape(t, s.tally), "gatehouse_inspection_ca_expiry_timestamp_seconds 0\n")
	}, 30*time.Second, 50*time.Millisecond)

	require.NoError(t, os.Chmod(made.Present().KeyFile(), 0o644))
	s.eventually("can be read by others (mode 0644)")
	require.Nil(t, s.ca.authority(), "a key that others have read signs nothing more")
}

func TestARulesFileBeyondTheCAIsRefusedUntilTheCAIsMadeForIt(t *testing.T) {
	t.Parallel()
	s := newSite(t, inspectedRules)
	folder := filepath.Join(s.dir, "state", "ca")
	_, err := ca.Create(folder, ca.Options{Domains: []string{"groupcall.test"}})
	require.NoError(t, err)
	s.configure("[inspection]\nenabled = true\n")
	s.eventually("inspection: on")

	s.setRules(strings.ReplaceAll(inspectedRules, `"inner.groupcall.test"`, `["inner.groupcall.test", "files.example.org"]`))
	s.eventually("problem: ")
	_, body := s.admin("GET", "/readyz")
	require.Contains(t, body, "GH047: files.example.org of rule \"inner\" is to be inspected")

	_, err = ca.Rotate(folder, ca.Options{Domains: []string{"groupcall.test", "example.org"}})
	require.NoError(t, err)
	s.eventually("inspection: on, for example.org, groupcall.test, under the CA")
	require.Eventually(t, func() bool {
		_, body := s.admin("GET", "/readyz")
		return !strings.Contains(body, "problem: ")
	}, 30*time.Second, 50*time.Millisecond, "the file is judged anew")
}

func TestEachClauseThatIsNotEnforcedIsNamed(t *testing.T) {
	t.Parallel()
	s := newSite(t, inspectedRules)
	_, body := s.admin("GET", "/readyz")
	require.Contains(t, body, "clauses of the rules that are not enforced, because they speak of what is inside TLS: 1")
	require.Contains(t, body, "note: not enforced: methods of inner (line 20): TLS is not inspected here ([inspection] enabled = false)\n")
	_, page := s.admin("GET", "/")
	require.Contains(t, page, "methods of inner (line 20)")
	require.Contains(t, scrape(t, s.tally), "gatehouse_rules_unenforced_clauses 1\n")
	require.NotContains(t, body, "inspection: ", "nobody asked for it")
}

func TestAnInspectionCAIsSpokenOfTwoMonthsBeforeItEnds(t *testing.T) {
	day := 24 * time.Hour
	start := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	config := DefaultConfig()
	config.State.Dir, config.Inspection.Enabled = t.TempDir(), true
	now := start
	shelf := newCAShelf(&config, func() time.Time { return now })
	require.ErrorIs(t, shelf.load(), ca.ErrMissing)
	_, err := ca.Create(config.CAFolder(), ca.Options{Domains: []string{"example.org"}, Now: start, Life: 100 * day})
	require.NoError(t, err)
	require.NoError(t, shelf.load())
	seen := shelf.look().digest
	require.Equal(t, shelf.Judged(), seen)
	for _, test := range []struct {
		name  string
		after time.Duration
		says  string
	}{
		{"61 days before nothing is said", 39 * day, ""},
		{"60 days before it is", 40 * day, "the inspection CA ends in 60 days, on 2026-06-12; run: gatehouse ca init --rotate"},
		{"and on its last day", 100*day - time.Hour, "ends in 0 days"},
	} {
		t.Run(test.name, func(t *testing.T) {
			now = start.Add(test.after)
			if test.says == "" {
				require.Empty(t, shelf.ending(now))
				return
			}
			require.Contains(t, shelf.ending(now), test.says)
			require.Contains(t, strings.Join(shelf.state(), "\n"), test.says)
		})
	}
	_, err = ca.Rotate(config.CAFolder(), ca.Options{Domains: []string{"example.org"}, Now: now, From: start.Add(90 * day)})
	require.NoError(t, err)
	now = start.Add(80 * day)
	require.NotEqual(t, seen, shelf.look().digest, "a further certificate is a change")
	require.NoError(t, shelf.load())
	require.Empty(t, shelf.ending(now), "a successor is ready")
	require.Contains(t, strings.Join(shelf.state(), "\n"), "signs from 2026-06-02 on")
	seen, now = shelf.look().digest, start.Add(90*day)
	require.NotEqual(t, seen, shelf.look().digest, "its day is a change, though no file changes")
	now = start.Add(1000 * day * 2)
	require.Error(t, shelf.load())
	require.Nil(t, shelf.authority())
}

func TestTrustedRootsAreTheSystemsAndThoseOfTheFile(t *testing.T) {
	made, err := ca.Create(filepath.Join(t.TempDir(), "ca"), ca.Options{Domains: []string{"example.org"}})
	require.NoError(t, err)
	root := made.Issuer().Leaf
	dir := t.TempDir()
	write(t, filepath.Join(dir, "roots.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw})))
	write(t, filepath.Join(dir, "empty.pem"), "no certificate\n")
	config := filepath.Join(dir, "gatehouse.toml")

	c, problems := ParseConfig(config, []byte("[tls]\nca_file = \"roots.pem\"\n"))
	require.Empty(t, problems)
	pool, err := c.Roots()
	require.NoError(t, err)
	_, err = root.Verify(x509.VerifyOptions{Roots: pool})
	require.NoError(t, err)
	none := DefaultConfig()
	pool, err = none.Roots()
	require.NoError(t, err)
	require.Nil(t, pool, "the system's, and no other")

	_, problems = ParseConfig(config, []byte("[tls]\nca_file = \"empty.pem\"\n"))
	require.Len(t, problems, 1)
	require.Contains(t, problems[0].Message, "holds no certificate in PEM")
}
