package appliance

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/appliance/console"
	"gatehouse/internal/flow"
	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

func TestDecisionsOfTheLogStandBehindThoseInMemory(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	s.configure("[log]\ndecisions = \"log/decisions.log\"\n")
	status, _ := s.get("/html.inf")
	require.Equal(t, 403, status)
	s.decided("http", 1)
	require.NoError(t, s.stop())
	s.start() // nothing is in memory now
	status, _ = s.get("/update.inf")
	require.Equal(t, 200, status)
	s.decided("http", 2)
	for filter, want := range map[console.Filter]int{
		{Surface: "http"}:                               2,
		{Surface: "http", Verdict: "denied"}:            1,
		{Host: "GROUPCALL", Rule: "updates"}:            2,
		{Client: "127.0.0.", Reason: "type-not-listed"}: 1,
		{Client: "10.", Reason: "type-not-listed"}:      0,
		{Verdict: "denied", Rule: "no-such-rule"}:       0,
		{Host: "\"verdict\"", Surface: "http"}:          0,
	} {
		require.Len(t, window{s.Appliance}.Decisions(t.Context(), filter, 10), want, "%+v", filter)
	}
	both := window{s.Appliance}.Decisions(t.Context(), console.Filter{Surface: "http"}, 10)
	require.Equal(t, []string{"allowed", "denied"}, []string{both[0].Verdict, both[1].Verdict}, "the newest first")

	var got struct{ Slots []console.Slot }
	require.Eventually(t, func() bool { // the day of before the start is read while the gate serves
		s.json("/api/v1/day", &got)
		allowed, denied := 0, 0
		for _, slot := range got.Slots {
			allowed, denied = allowed+slot.Allowed, denied+slot.Denied
		}
		return allowed == 1 && denied == 1
	}, time.Minute, 20*time.Millisecond)
	require.Len(t, got.Slots, 96)
}

func TestPagesShowEachDecisionOnceWhileOthersAreMade(t *testing.T) {
	t.Parallel()
	site := newBusy(t, keptDecisions+2000) // the oldest 2000 are on the disk alone
	w := window{site.Appliance}
	for _, f := range []console.Filter{{}, {Verdict: "denied"}, {Host: "groupcall", Client: "10.20.0.1"}} {
		all := w.Decisions(t.Context(), f, 1<<20)
		var got []console.Decision
		for before := ""; ; {
			page, err := w.Page(t.Context(), f, 1700, before)
			require.NoError(t, err)
			got = append(got, page.Decisions...)
			if before = page.Next; before == "" {
				break
			}
			require.Len(t, page.Decisions, 1700)
		}
		require.Len(t, got, len(all), "%+v", f)
		for i := range all {
			require.Equal(t, all[i].ID, got[i].ID, "%+v: row %d", f, i)
		}
	}
	page, err := w.Page(t.Context(), console.Filter{}, 2, "")
	require.NoError(t, err)
	behind, err := w.Page(t.Context(), console.Filter{}, 2, page.Next)
	require.NoError(t, err)
	site.ring.Record(kept(0))
	again, err := w.Page(t.Context(), console.Filter{}, 2, page.Next)
	require.NoError(t, err)
	require.Equal(t, behind.Decisions, again.Decisions, "what is made meanwhile moves nothing")
	_, err = w.Page(t.Context(), console.Filter{}, 2, "GH-NOWHERE1")
	require.ErrorIs(t, err, console.ErrNoPlace)
	for path, want := range map[string]int{"/decisions?n=10000": 200, "/decisions?before=" + page.Next: 200, "/decisions?before=GH-NOWHERE1": 404, "/api/v1/decisions?before=GH-NOWHERE1": 404} {
		status, octets := site.ask(t, path)
		require.Equal(t, want, status, path)
		require.Less(t, octets, 600_000, path)
	}
}

func TestNamesTellWhereTheyLead(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	s.query("www.groupcall.test.")
	s.query("nowhere.example.org.")
	var got struct{ Names []console.Name }
	require.Eventually(t, func() bool {
		s.json("/api/v1/names", &got)
		return len(got.Names) == 2
	}, time.Minute, 20*time.Millisecond)
	require.Equal(t, "nowhere.example.org", got.Names[0].Name)
	require.Equal(t, "host-not-listed", got.Names[0].Reason)
	require.Zero(t, got.Names[0].Left)
	m := got.Names[1]
	require.Equal(t, "www.groupcall.test", m.Name)
	require.Equal(t, "updates", m.Rule)
	require.Equal(t, "127.0.0.1", m.Addresses[0].Address)
	require.Positive(t, m.Left)
	s.json("/api/v1/names?name=GROUPCALL", &got)
	require.Len(t, got.Names, 1)
}

func TestAConsoleThatIsReadNoFurtherHoldsNothingUp(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	for i := range keptDecisions {
		s.book.Record(kept(i))
	}
	for range 4 { // each asks for megabytes, reads the first line and no more
		conn, err := net.Dial("tcp", s.address("admin"))
		require.NoError(t, err)
		t.Cleanup(func() { conn.Close() })
		require.NoError(t, conn.(*net.TCPConn).SetReadBuffer(4096))
		fmt.Fprintf(conn, "GET /api/v1/decisions?n=10000 HTTP/1.1\r\nHost: %s\r\n\r\n", s.address("admin"))
		line, err := bufio.NewReaderSize(conn, 16).ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "HTTP/1.1 200 OK\r\n", line)
	}
	for range 4 { // each looks on, and reads nothing at all
		conn, err := net.Dial("tcp", s.address("admin"))
		require.NoError(t, err)
		t.Cleanup(func() { conn.Close() })
		require.NoError(t, conn.(*net.TCPConn).SetReadBuffer(4096))
		fmt.Fprintf(conn, "GET /decisions/live HTTP/1.1\r\nHost: %s\r\n\r\n", s.address("admin"))
	}
	require.Eventually(t, func() bool { return s.tail.Viewers() == 4 }, nettest.Patience, 5*time.Millisecond)
	for i := range 3000 { // far more than the queues hold
		s.book.Record(kept(i))
	}
	for range 20 {
		status, _ := s.get("/update.inf")
		require.Equal(t, 200, status)
	}
	status, _ := s.admin("GET", "/decisions?verdict=allowed")
	require.Equal(t, 200, status, "others look on")
	require.NoError(t, s.stop(), "nor do they keep the gate from stopping")
}

func TestWhoLooksOnSeesWhatFitsFromWhereHeWas(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	w := window{s.Appliance}
	record := func(id, host string, reason policy.Reason) {
		r := kept(0)
		r.ID, r.Host, r.Verdict = id, host, policy.Verdict{Reason: reason}
		s.book.Record(r)
	}
	record("GH-1", "a.example.org", policy.HostNotListed)
	record("GH-2", "b.example.org", policy.HostNotListed)
	record("GH-3", "a.example.org", policy.PortNotListed)
	follow := func(f console.Filter, after string) func(n int) []string {
		o, err := w.Follow(f, after)
		require.NoError(t, err)
		t.Cleanup(o.Close)
		return func(n int) (ids []string) {
			for len(ids) < n {
				list, missed, err := o.Next(t.Context())
				require.NoError(t, err)
				require.Zero(t, missed)
				for _, d := range list {
					ids = append(ids, d.ID)
				}
			}
			return ids
		}
	}
	all, later, hostA := follow(console.Filter{}, ""), follow(console.Filter{}, "GH-2"), follow(console.Filter{Host: "A.example"}, "GH-1")
	record("GH-4", "b.example.org", policy.HostNotListed)
	record("GH-5", "a.example.org", policy.HostNotListed)
	require.Equal(t, []string{"GH-1", "GH-2", "GH-3", "GH-4", "GH-5"}, all(5), "each once, the oldest first")
	require.Equal(t, []string{"GH-3", "GH-4", "GH-5"}, later(3))
	require.Equal(t, []string{"GH-3", "GH-5"}, hostA(2))
}

func TestARefusalHoldsWhatWouldPermitIt(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	s.get("/html.inf")
	_, _, refused := s.connect("relay.groupcall.test:22")
	require.Equal(t, 403, refused.StatusCode)
	_, _, refused = s.connect("www.example.org:443")
	require.Equal(t, 403, refused.StatusCode)
	s.get("/update.inf")
	s.decided("http", 2)
	s.decided("connect", 2)
	permits := map[string]*console.Permit{}
	for _, d := range (window{s.Appliance}).Decisions(t.Context(), console.Filter{}, 10) {
		permits[d.Reason] = d.Permit
	}
	require.Nil(t, permits["matched"])
	require.Contains(t, permits["type-not-listed"].Says, `add "text/html" to types, in updates (line `)
	require.Empty(t, permits["type-not-listed"].Text, "the types are a table: there is no one line")
	require.Contains(t, permits["port-not-listed"].Says, "in relay (line ")
	require.Equal(t, "ports = ["+s.echo+", 22]", permits["port-not-listed"].Text)
	require.Positive(t, permits["port-not-listed"].Line)
	require.Contains(t, permits["host-not-listed"].Text, "hosts = [\"www.example.org\"]")
	require.Zero(t, permits["host-not-listed"].Line)
	_, body := s.admin("GET", "/decisions?verdict=denied")
	require.Contains(t, body, `<pre class="copy">ports = [`)

	s.reload(rulesText + "[[allow]]\nname = \"other\"\nhosts = \"other.example.org\"\n")
	for _, d := range (window{s.Appliance}).Decisions(t.Context(), console.Filter{Verdict: "denied"}, 10) {
		require.Equal(t, "the rules have changed since; ask what they say now", d.Permit.Says)
	}
}

// kept is one of many decisions; every fifth is refused.
func kept(i int) *flow.Record {
	r := &flow.Record{
		ID: flow.NewID(), Time: time.Date(2026, 3, 4, 0, 0, 0, i, time.UTC), Surface: policy.HTTP, Host: fmt.Sprintf("host%d.example.org", i%300),
		Port: 443, Protocol: policy.TLS, Method: "GET", Path: "/some/path/of/a/file.txt", PolicySHA: strings.Repeat("0", 64), End: "done",
		Verdict: policy.Verdict{Effect: policy.Allow, Reason: policy.Matched},
	}
	if i%5 == 0 {
		r.Verdict = policy.Verdict{Reason: policy.HostNotListed}
	}
	return r
}
