package appliance

import (
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/appliance/console"
	"gatehouse/internal/flow"
	"gatehouse/policy"
	"gatehouse/rules"
)

// usedRules are those of a school whose gate has much to do.
const usedRules = `version = 1
[[client]]
name = "mis"
from = "10.20.0.0/24"
[[pack]]
name    = "emerge-server"
clients = "mis"
[[pack]]
name    = "emerge-client"
clients = "mis"
[[pack]]
name    = "xporter"
clients = "mis"
[[allow]]
name  = "own"
hosts = "www.school.example"
ports = [80, 443]
types = ["text/html"]
[[allow]]
name  = "never-used"
hosts = "unused.example"
`

// asked are passages as a gate sees them; the numbers that they hold make most of
// the refused hosts different ones.
var asked = []string{
	"GET https://www.groupcall.co.uk/update%d.inf -> text/plain",
	"POST https://dashboard.groupcall.com/a/%d -> text/xml",
	"CONNECT emergeen.servicebus.windows.net:443 %d",
	"CONNECT emergeen.servicebus.windows.net:5671 %d",
	"DNS emergeen.servicebus.windows.net A %d",
	"DNS www.groupcall.co.uk AAAA %d",
	"GET http://www.school.example/page/%d.html -> text/html",
	"GET http://www.school.example/script/%d.js -> text/javascript",
	"CONNECT www.groupcall.co.uk:22 %d",
	"DNS tracker%d.example.net A",
	"CONNECT host%d.example.org:443",
}

// busy is a gate with n decisions kept on the disk, in the pieces that its log
// makes, of which the last 10,000 are in memory too. All are made by its rules.
type busy struct {
	*Appliance
	console *http.ServeMux
	first   string // the id of the oldest
}

func newBusy(t testing.TB, n int) *busy {
	t.Helper()
	dir := t.TempDir()
	c := DefaultConfig()
	c.State.Dir, c.Log.Decisions = filepath.Join(dir, "state"), filepath.Join(dir, "decisions.log")
	file := filepath.Join(dir, "rules.toml")
	require.NoError(t, os.WriteFile(file, []byte(usedRules), 0o600))
	a := New(Options{Config: &c, Log: quiet(), Files: Files{Rules: file}})
	t.Cleanup(a.resolver.Close)
	a.doors = &listeners{}
	a.rulebook.start()
	require.NotNil(t, a.rulebook.Status().Loaded, "%v", a.rulebook.Status().Refused)
	log := flow.NewFile(flow.FileConfig{Path: c.Log.Decisions, Bytes: 96 << 20})
	b := &busy{Appliance: a, console: http.NewServeMux()}
	start := time.Now().Add(-20 * time.Hour)
	var lines []byte
	for i := range n {
		r := b.decided(t, i, start.Add(time.Duration(i)*20*time.Hour/time.Duration(n)))
		if lines = flow.JSON(lines, r); len(lines) > 64<<10 || i == n-1 {
			_, err := log.Write(lines)
			require.NoError(t, err)
			lines = lines[:0]
		}
		if i == 0 {
			b.first = r.ID
		}
		if i >= n-keptDecisions {
			a.ring.Record(r)
		}
		a.day.Record(r)
	}
	require.NoError(t, log.Close())
	console.New(window{a}, quiet()).Register(b.console)
	return b
}

// decided is the i-th decision.
func (b *busy) decided(t testing.TB, i int, at time.Time) *flow.Record {
	n := i * 7919 % 4093
	target := asked[i*31%len(asked)]
	if strings.Contains(target, "%d") {
		target = fmt.Sprintf(target, n)
	}
	target = strings.TrimSuffix(target, fmt.Sprintf(" %d", n))
	c, err := rules.ParseTarget(target)
	require.NoError(t, err, target)
	c.At, c.Client = at, netip.AddrFrom4([4]byte{10, 20, 0, byte(i * 13)})
	r := &flow.Record{
		ID: flow.NewID(), Time: at, Surface: policy.HTTP, Client: c.Client, Group: "mis", Host: c.Dest.Host.String(), Port: c.Dest.Port, Method: c.Method,
		Path: c.Path.String(), Protocol: policy.TLS, Verdict: b.live.Policy().Decide(c), PolicySHA: b.live.Policy().SHA256(),
		Sent: int64(n), Received: int64(n * 100), FirstByte: 3 * time.Millisecond, Duration: 5 * time.Millisecond, End: "done", Status: 200,
	}
	switch c.Kind {
	case policy.CaseConnect:
		r.Surface = policy.CONNECT
	case policy.CaseDNS:
		r.Surface, r.Query = policy.DNS, "A"
	default:
		if r.Type = c.Type.String(); !c.Secure {
			r.Protocol = policy.PlainHTTP
		}
	}
	if !r.Verdict.Allowed() {
		r.End, r.Status = "refused", 403
	}
	return r
}

// ask asks for a page, and gives what came.
func (b *busy) ask(t testing.TB, path string) (status, octets int) {
	w := &answer{header: http.Header{}}
	r, err := http.NewRequest("GET", path, nil)
	require.NoError(t, err)
	b.console.ServeHTTP(w, r)
	return w.status, w.octets
}

// answer keeps the status of an answer, and how long it was.
type answer struct {
	header         http.Header
	status, octets int
}

func (a *answer) Header() http.Header { return a.header }
func (a *answer) Write(p []byte) (int, error) {
	a.octets += len(p)
	return len(p), nil
}
func (a *answer) WriteHeader(status int) { a.status = status }

// pagesAsked are all pages and all of the JSON that is got, by what they are.
func (b *busy) pagesAsked() [][2]string {
	newest := b.ring.Recent(1)[0].ID
	sha := b.live.Policy().SHA256()
	var list [][2]string
	for _, of := range []string{"/decisions", "/api/v1/decisions"} {
		for _, q := range []string{
			"", "?n=10000", "?verdict=denied", "?verdict=would_deny", "?client=10.20.0.7", "?client=192.0.2.", "?host=groupcall", "?host=tracker77.", "?host=nowhere",
			"?reason=type-not-listed", "?reason=loop", "?rule=own", "?rule=none", "?rule=own&verdict=denied&n=1000",
			"?surface=publish", "?client=10.20.0.7&host=tracker1",
		} {
			list = append(list, [2]string{of, q})
		}
		list = append(list, [2]string{of + "/" + newest, ""}, [2]string{of + "/" + b.first, ""})
	}
	for _, path := range []string{
		"/", "/rules", "/ask", "/ask?client=10.20.0.5&target=https://www.groupcall.co.uk/", "/names", "/names?name=tracker", "/history", "/history/" + sha,
		"/changes", "/backup", "/health", "/api/v1/state", "/api/v1/health", "/api/v1/packs", "/api/v1/day", "/api/v1/names",
		"/api/v1/explain?client=10.20.0.5&target=https://www.groupcall.co.uk/", "/api/v1/rules", "/api/v1/history", "/api/v1/changes",
	} {
		at, query, _ := strings.Cut(path, "?")
		if query != "" {
			query = "?" + query
		}
		list = append(list, [2]string{at, query})
	}
	return list
}

// BenchmarkConsole asks for each page, and for each piece of JSON that is got, with
// 100,000 decisions kept on the disk and the last 10,000 of them in memory.
func BenchmarkConsole(b *testing.B) {
	site := newBusy(b, 100_000)
	for _, page := range site.pagesAsked() {
		name := strings.NewReplacer(site.first, "oldest", site.ring.Recent(1)[0].ID, "newest", site.live.Policy().SHA256(), "sha256").Replace(page[0] + page[1])
		b.Run(strings.ReplaceAll(strings.TrimPrefix(name, "/"), "/", "|"), func(b *testing.B) {
			before, octets := cpu(b), 0
			for b.Loop() {
				var status int
				status, octets = site.ask(b, page[0]+page[1])
				require.Equal(b, 200, status)
			}
			b.ReportMetric(float64((cpu(b)-before).Microseconds())/1000/float64(b.N), "cpu-ms/op")
			b.ReportMetric(float64(octets)/1000, "kB/op")
		})
	}
}

// What a page costs is what it shows, however much is kept: that is held by what is
// read for it and by what it allocates, for time is the machine's.
func TestAPageReadsWhatItShows(t *testing.T) {
	site := newBusy(t, 30_000) // 16 MB of lines
	require.NoError(t, site.catalogue.Update(t.Context()))
	for _, page := range site.pagesAsked() {
		if strings.Contains(page[1], "n=") {
			continue // it shows more
		}
		var status int
		var octets int64
		allocations := testing.AllocsPerRun(1, func() {
			before := octetsRead(t)
			status, _ = site.ask(t, page[0]+page[1])
			octets = octetsRead(t) - before
		})
		require.Equal(t, 200, status, page)
		require.Less(t, octets, int64(300_000), "200 lines, and the files that are looked at: %s", page)
		require.Less(t, allocations, 60_000.0, page)
	}
}

// octetsRead is what this process has read from files so far (proc(5), /proc/pid/io).
func octetsRead(t *testing.T) (n int64) {
	text, err := os.ReadFile("/proc/self/io")
	require.NoError(t, err)
	_, err = fmt.Sscanf(string(text), "rchar: %d", &n)
	require.NoError(t, err)
	return n
}
