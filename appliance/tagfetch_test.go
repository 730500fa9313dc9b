//go:build linux

package appliance

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/dnsallow"
	"gatehouse/internal/flow"
	"gatehouse/internal/nettest"
	"gatehouse/internal/servicetags"
	"gatehouse/policy"
)

// microsoft plays the download page and the host of its files, by their names
// and with a certificate for them, on loopback.
type microsoft struct {
	*tagFetch
	page, list string // what is served; the list's status is 404 where it is empty
	book       *records
	folder     string
	said       string
	now        time.Time
}

type records struct {
	mu   sync.Mutex
	list []flow.Record
}

func (b *records) Record(r *flow.Record) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.list = append(b.list, *r)
}

const listPath = "/download/7/1/d/71d86715/ServiceTags_Public_20261116.json"

const linkToList = `<a href="https://download.microsoft.com` + listPath + `">Download</a>`

func tagsText(number int, tag string, prefixes ...string) string {
	return fmt.Sprintf(`{"changeNumber":%d,"values":[{"name":%q,"properties":{"addressPrefixes":["%s"]}}]}`, number, tag, strings.Join(prefixes, `","`))
}

// newMicrosoft has a list of change number 400 in force, of three ranges.
func newMicrosoft(t *testing.T, zone ...string) *microsoft {
	t.Helper()
	m := &microsoft{page: linkToList, list: tagsText(401, "ServiceBus.NorthEurope", "13.74.107.64/29", "13.69.227.64/29", "52.138.226.64/29"),
		book: new(records), now: time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)}
	authority := nettest.NewAuthority(t, "a root of the school")
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Host == "www.microsoft.com" && r.URL.Path == "/en-us/download/details.aspx":
			io.WriteString(w, m.page)
		case r.Host == "download.microsoft.com" && r.URL.Path == listPath && m.list != "":
			io.WriteString(w, m.list)
		case r.URL.Path == "/elsewhere":
			http.Redirect(w, r, "https://www.example.org/", http.StatusFound)
		default:
			http.NotFound(w, r)
		}
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{authority.Sign(t, nil, "www.microsoft.com", "download.microsoft.com")}}
	server.StartTLS()
	t.Cleanup(server.Close)

	dir := t.TempDir()
	m.folder = filepath.Join(dir, "tags")
	write(t, filepath.Join(m.folder, "ServiceTags_Public_20261109.json"), tagsText(400, "ServiceBus.NorthEurope", "13.74.107.64/29", "13.69.227.64/29", "20.50.72.0/29"))
	write(t, filepath.Join(dir, "gatehouse.toml"), "[azure]\ntags = \"tags\"\nfetch = \"weekly\"\n[state]\ndir = \"state\"\n")
	write(t, filepath.Join(dir, "rules.toml"), "version = 1\n[[allow]]\nname = \"bus\"\nhosts = \"emergeen.servicebus.windows.net\"\naddresses = \"azure:ServiceBus.NorthEurope\"\n"+
		"[[test]]\nallow = \"DNS emergeen.servicebus.windows.net = 13.74.107.71\"\n")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "state"), 0o755))
	files, err := Locate(filepath.Join(dir, "gatehouse.toml"), "")
	require.NoError(t, err)
	c, problems, err := files.ReadConfig()
	require.NoError(t, err)
	require.Empty(t, problems)
	inForce, err := c.TagsInForce()
	require.NoError(t, err)

	if len(zone) == 0 {
		zone = []string{"www.microsoft.com. 60 IN A 127.0.0.1", "download.microsoft.com. 60 IN A 127.0.0.1"}
	}
	up, err := dnsallow.ParseUpstream(nettest.NewDNS(t, zone...).Addr)
	require.NoError(t, err)
	resolver := dnsallow.NewResolver(dnsallow.ResolverConfig{Upstreams: []dnsallow.Upstream{up}, Total: 30 * time.Second}, dnsallow.ResolverDeps{})
	t.Cleanup(resolver.Close)
	p, err := fetchPolicy([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})
	require.NoError(t, err)
	own := &ownPassages{policy: p, resolver: resolver, book: m.book, now: time.Now, dial: func(ctx context.Context, _ string, to netip.AddrPort) (net.Conn, error) {
		if to.String() != "127.0.0.1:443" {
			return nil, errors.New("not where the page is")
		}
		return new(net.Dialer).DialContext(ctx, "tcp", server.Listener.Addr().String())
	}}
	m.tagFetch = &tagFetch{
		page: downloadPage, http: own.transport(authority.Roots), keep: filepath.Join(dir, "state", "azure-fetch.json"), log: quiet(),
		now: func() time.Time { return m.now }, file: func() *servicetags.File { return inForce }, said: func(s string) { m.said = s },
		weigh: func(after *servicetags.File, text []byte) (*TagImport, error) {
			return c.weigh(files, inForce, after, text)
		},
	}
	return m
}

func (m *microsoft) taken(t *testing.T) bool {
	_, err := os.Stat(filepath.Join(m.folder, filepath.Base(listPath)))
	return err == nil
}

func TestTheWeeklyListIsFetchedThroughTheGatesOwnRule(t *testing.T) {
	t.Parallel()
	m := newMicrosoft(t)
	outcome, err := m.fetch(t.Context())
	require.NoError(t, err)
	require.Contains(t, outcome, "fetched to ")
	text, err := os.ReadFile(filepath.Join(m.folder, filepath.Base(listPath)))
	require.NoError(t, err)
	require.Equal(t, m.list, string(text))
	require.Eventually(t, func() bool { m.book.mu.Lock(); defer m.book.mu.Unlock(); return len(m.book.list) == 2 }, 30*time.Second, 10*time.Millisecond)
	hosts := make([]string, 0, len(fetchHosts))
	for _, r := range m.book.list { // each written as its connection ends, in any order
		hosts = append(hosts, r.Host)
		require.Equal(t, "127.0.0.1", r.IP.String())
		require.Equal(t, uint16(443), r.Port)
		require.Equal(t, fetchRule, r.Verdict.Rule.Name)
		require.Equal(t, policy.Matched, r.Verdict.Reason)
		require.Positive(t, r.Received)
		require.Equal(t, "done", r.End)
	}
	require.ElementsMatch(t, fetchHosts, hosts)
}

func TestWhatIsFetchedIsWeighedLikeAnImport(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		change func(*microsoft)
		says   string
	}{
		"an older list":                  {func(m *microsoft) { m.list = tagsText(399, "ServiceBus.NorthEurope", "13.74.107.64/29") }, "it is older"},
		"a list without a tag in use":    {func(m *microsoft) { m.list = tagsText(401, "ServiceBus.NorthEurope2", "13.74.107.64/29") }, "it lacks ServiceBus.NorthEurope"},
		"a list that lost most of a tag": {func(m *microsoft) { m.list = tagsText(401, "ServiceBus.NorthEurope", "13.74.107.64/29") }, "more than a third"},
		"a list that fails the rules' tests": {func(m *microsoft) {
			m.list = tagsText(401, "ServiceBus.NorthEurope", "13.74.108.64/29", "13.69.227.64/29", "20.50.72.0/29")
		}, "the rules cannot be loaded"},
		"something else than a list": {func(m *microsoft) { m.list = "<html>" }, "at byte"},
		"a list that is not there":   {func(m *microsoft) { m.list = "" }, "status 404"},
		"a page without a list":      {func(m *microsoft) { m.page = "<html>" }, "leads to no ServiceTags_Public"},
		"a list on another host": {func(m *microsoft) {
			m.page = strings.ReplaceAll(linkToList, "download.microsoft.com", "download.example.org")
		}, "leads to no ServiceTags_Public"},
		"a page that is too large":    {func(m *microsoft) { m.page = strings.Repeat(" ", mostPage+1) + linkToList }, "larger than 4 MiB"},
		"a page that leads elsewhere": {func(m *microsoft) { m.tagFetch.page = "https://www.microsoft.com/elsewhere" }, "www.example.org is refused: host-not-listed"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			m := newMicrosoft(t)
			c.change(m)
			s := m.attempt(t.Context(), fetchState{})
			require.Contains(t, s.Outcome, c.says)
			require.Contains(t, m.said, c.says, "it is said")
			require.Equal(t, 1, s.Failures)
			require.Equal(t, s, m.load(), "and remembered")
			require.False(t, m.taken(t))
		})
	}
}

func TestTheListInForceIsNotFetchedAgain(t *testing.T) {
	t.Parallel()
	m := newMicrosoft(t)
	m.page = strings.ReplaceAll(linkToList, "20261116", "20261109")
	m.list = ""
	m.tagFetch.http = replaced{m.tagFetch.http, tagsText(400, "ServiceBus.NorthEurope", "13.74.107.64/29", "13.69.227.64/29", "20.50.72.0/29")}
	outcome, err := m.fetch(t.Context())
	require.NoError(t, err)
	require.Equal(t, "change number 400 is in force already", outcome)
}

// replaced serves a text for every file that ends in .json.
type replaced struct {
	http.RoundTripper
	text string
}

func (r replaced) RoundTrip(req *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(req.URL.Path, ".json") {
		return r.RoundTripper.RoundTrip(req)
	}
	return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(r.text)), Request: req}, nil
}

func TestAnAddressThatThePublicInternetHasNotIsNotAsked(t *testing.T) {
	t.Parallel()
	m := newMicrosoft(t, "www.microsoft.com. 60 IN A 10.0.0.5")
	_, err := m.fetch(t.Context())
	require.ErrorContains(t, err, "address-not-allowed")
	require.Len(t, m.book.list, 1)
	require.Equal(t, "refused", m.book.list[0].End)
}

func TestWhenTheListIsFetched(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
	f := &tagFetch{now: func() time.Time { return now }}
	for what, c := range map[string]struct {
		state    fetchState
		from, to time.Duration
	}{
		"never yet: soon after the start":          {fetchState{}, time.Minute, 2 * time.Minute},
		"a day ago: when the week is over":         {fetchState{Tried: now.Add(-24 * time.Hour)}, 6 * 24 * time.Hour, 7 * 24 * time.Hour},
		"a month ago: soon after the start":        {fetchState{Tried: now.Add(-30 * 24 * time.Hour)}, time.Minute, 2 * time.Minute},
		"failed just now: in an hour":              {fetchState{Tried: now, Failures: 1}, time.Hour, 66 * time.Minute},
		"failed three times: in four hours":        {fetchState{Tried: now, Failures: 3}, 4 * time.Hour, 264 * time.Minute},
		"failed for weeks: the next day":           {fetchState{Tried: now, Failures: 1 << 40}, 24 * time.Hour, 27 * time.Hour},
		"in the future, by a clock that was wrong": {fetchState{Tried: now.Add(1000 * time.Hour)}, time.Minute, 2 * time.Minute},
	} {
		require.GreaterOrEqual(t, f.due(c.state, 0), c.from, what)
		require.LessOrEqual(t, f.due(c.state, 0.999), c.to, what)
		require.Less(t, f.due(c.state, 0), f.due(c.state, 0.999)+1, what)
	}
}
