package dnsallow

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/flow"
	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

// told asks the long way, so that an answer lies ready, and gives it back.
func (w *window) told(t testing.TB, packet []byte, client netip.Addr) []byte {
	t.Helper()
	return w.respond(t.Context(), packet, &net.UDPAddr{IP: client.AsSlice(), Port: 4711}, false)
}

func TestBothWaysGiveTheSameAnswer(t *testing.T) {
	up := nettest.NewDNS(t, schoolZone...)
	for name, qtype := range map[string]uint16{
		"emergeen.servicebus.windows.net.": dns.TypeA, "EMERGEEN.servicebus.windows.net.": dns.TypeAAAA,
		"other.servicebus.windows.net.": dns.TypeA, "west.servicebus.windows.net.": dns.TypeA,
		"pinned.groupcall.co.uk.": dns.TypeA, "none.groupcall.co.uk.": dns.TypeA, "www.groupcall.co.uk.": dns.TypeAAAA,
		"mask.icloud.com.": dns.TypeHTTPS, "www.icloud.com.": dns.TypeTXT, "x.icloud.com.": dns.TypeANY,
		"10.20.0.5.": dns.TypeA,
	} {
		t.Run(name, func(t *testing.T) {
			w := open(t, up, schoolRules(t))
			plain := new(dns.Msg).SetQuestion(name, qtype)
			cookie := query(name, qtype)
			cookie.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0123456789abcdef"}}
			small := new(dns.Msg).SetQuestion(name, qtype).SetEdns0(1, true)
			shouted := new(dns.Msg).SetQuestion(swapCase(name), qtype)
			shouted.RecursionDesired, shouted.CheckingDisabled, shouted.AuthenticatedData = false, true, true
			for _, m := range []*dns.Msg{plain, cookie, small, shouted} {
				packet := packed(t, m)
				long := w.told(t, packet, machine)
				require.Equal(t, long, w.again(nil, packet, machine))
				w.clock.Advance(1500 * time.Millisecond)
				short := w.again(nil, packet, machine)
				require.NotNil(t, short)
				require.Equal(t, short, w.told(t, packet, machine), "the TTLs, too, as time goes by")
			}
			require.Nil(t, w.again(nil, packed(t, plain), tablet), "it was judged for somebody else")
		})
	}
}

func TestWhatLiesReadyIsNotGiven(t *testing.T) {
	ends := newClock().Now().Add(20 * time.Second)
	rules := []policy.Rule{
		allow(t, "web", "*.groupcall.co.uk"), allow(t, "bus", "emergeen.servicebus.windows.net", into(northEurope)),
		allow(t, "pilot", "www.icloud.com", func(r *policy.Rule) { r.Until = ends }),
	}
	const bus, web, pilot, refused = "emergeen.servicebus.windows.net.", "www.groupcall.co.uk.", "www.icloud.com.", "x.example.org."
	for what, c := range map[string]struct {
		name  string
		after func(w *window)
	}{
		"once the answer has run down":       {bus, func(w *window) { w.clock.Advance(9 * time.Second) }},
		"once its line is a minute old":      {web, func(w *window) { w.clock.Advance(foldTime) }},
		"once a refusal is a minute old":     {refused, func(w *window) { w.clock.Advance(foldTime) }},
		"once the day of a rule has ended":   {pilot, func(w *window) { w.clock.Advance(20 * time.Second) }},
		"once the day of any rule has ended": {web, func(w *window) { w.clock.Advance(20 * time.Second) }},
		"once there are other rules":         {web, func(w *window) { w.live.Swap(compile(t, rules...)) }},
		"once there are none":                {web, func(w *window) { w.live.Swap(nil) }},
		"once the fold was closed":           {web, func(w *window) { w.closeFolds(func(*fold) bool { return true }) }},
		"where the switch says so":           {web, func(w *window) { w.config.NoShelf = true }},
	} {
		t.Run(what, func(t *testing.T) {
			w := open(t, nettest.NewDNS(t, schoolZone...), compile(t, rules...))
			packet := packed(t, query(c.name, dns.TypeA))
			require.NotNil(t, w.told(t, packet, machine))
			require.NotNil(t, w.again(nil, packet, machine))
			c.after(w)
			require.Nil(t, w.again(nil, packet, machine))
		})
	}
}

func TestFailuresAndStrangersAndForwardedNamesNeverLieReady(t *testing.T) {
	w, _ := school(t, allow(t, "web", "fails.example.org"))
	w.up.Handle("fails.example.org", nettest.Rcode(dns.RcodeServerFailure))
	for _, name := range []string{"fails.example.org.", "dc1.school.local."} {
		packet := packed(t, query(name, dns.TypeA))
		require.NotNil(t, w.told(t, packet, machine))
		require.Nil(t, w.again(nil, packet, machine), name)
	}
	packet := packed(t, query("www.school.example.", dns.TypeA))
	require.NotNil(t, w.told(t, packet, stranger))
	require.Nil(t, w.again(nil, packet, stranger))
	require.NotNil(t, w.told(t, packet, machine))
	require.NotNil(t, w.again(nil, packet, machine))
}

func TestPacketsThatOnlyTheLongWayReads(t *testing.T) {
	w := open(t, nettest.NewDNS(t, schoolZone...), schoolRules(t))
	good := packed(t, query("www.groupcall.co.uk.", dns.TypeA))
	require.NotNil(t, w.told(t, good, machine))
	require.NotNil(t, w.again(nil, good, machine))
	end := questionEnd(good)
	change := func(at int, b ...byte) []byte {
		p := append([]byte(nil), good...)
		copy(p[at:], b)
		return p
	}
	for what, packet := range map[string][]byte{
		"a response": change(2, 0x81), "opcode UPDATE": change(2, 5<<3), "TC": change(2, 3), "Z": change(3, 0x40),
		"two questions": change(4, 0, 2), "an answer": change(6, 0, 1), "an authority": change(8, 0, 1), "two more": change(10, 0, 2),
		"none announced, one there": change(10, 0, 0), "class CHAOS": change(end-2, 0, 3), "a pointer": change(12, 0xc0, 12),
		"EDNS version 1": change(end+6, 1), "an EDNS flag": change(end+8, 1), "no OPT": change(end+1, 0, 42),
		"an OPT with a name": change(end, 1), "an option longer than the packet": change(end+9, 0, 12),
		"cut off": good[:len(good)-1], "something behind": append(change(0), 0), "a header": good[:12], "nothing": {},
		"another option": append(change(end+9, 0, 12), 0, 3, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8),
	} {
		require.Nil(t, w.again(nil, packet, machine), what)
	}
}

// counting is a book that counts as the metrics do and keeps the lines.
type counting struct {
	ledger
	questions int
}

func (c *counting) Record(r *flow.Record) {
	if r.Repeats == 0 {
		c.Repeated(r, 1, 0)
	}
	c.ledger.Record(r)
}

func (c *counting) Repeated(_ *flow.Record, n int, _ time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.questions += n
}

func (c *counting) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.questions
}

func TestRepeatsShareALineAndAreAllCounted(t *testing.T) {
	book := new(counting)
	w := open(t, nettest.NewDNS(t, schoolZone...), schoolRules(t), func(_ *ServerConfig, d *ServerDeps) { d.Sink = book })
	refused := query("other.servicebus.windows.net.", dns.TypeA)
	var id string
	for i := range 7 {
		_, text := explained(w.ask(t, refused))
		if i == 0 {
			id = text
		}
		require.Equal(t, id, text, "one line, one id")
	}
	conn, err := net.Dial("tcp", w.addr)
	require.NoError(t, err)
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	conn.Write(framed(packed(t, refused)))
	_, err = readFramed(conn, dns.MaxMsgSize)
	require.NoError(t, err)
	require.Len(t, book.all(), 1)
	w.Settle()
	require.Equal(t, 8, book.count())
	w.Settle()
	require.Equal(t, 8, book.count(), "told once")

	w.ask(t, query("other.servicebus.windows.net.", dns.TypeAAAA))
	require.Len(t, book.all(), 2, "another type is another question")
	w.clock.Advance(foldTime)
	w.closeFolds(func(f *fold) bool { return !w.clock.Now().Before(f.ends) })
	all := book.all()
	require.Len(t, all, 3, "the other had no repeats")
	require.Equal(t, 7, all[2].Repeats)
	require.Equal(t, all[0].ID, all[2].ID)
	w.ask(t, refused)
	require.Len(t, book.all(), 4, "a new minute, a new line")
	require.Equal(t, 10, book.count())
}

func TestARepeatWithAnotherVerdictHasALineOfItsOwn(t *testing.T) {
	book := new(counting)
	w := open(t, nettest.NewDNS(t, schoolZone...), schoolRules(t), func(_ *ServerConfig, d *ServerDeps) { d.Sink = book })
	m := query("www.groupcall.co.uk.", dns.TypeA)
	w.ask(t, m)
	w.ask(t, m)
	w.live.Swap(compile(t, deny(t, "never", "www.groupcall.co.uk"), allow(t, "web", "www.groupcall.co.uk")))
	require.Equal(t, dns.RcodeNameError, w.ask(t, m).Rcode)
	lines := book.all()
	require.Len(t, lines, 3)
	require.Equal(t, []int{0, 0, 1}, []int{lines[0].Repeats, lines[1].Repeats, lines[2].Repeats}, "and the old one is closed")
	require.Equal(t, policy.DeniedByRule, lines[1].Verdict.Reason)
}

// Every question is counted, whatever is closed and pushed out meanwhile.
func TestNothingIsLostWhenPlacesAreClearedUnderway(t *testing.T) {
	book := new(counting)
	w := open(t, nettest.NewDNS(t, schoolZone...), schoolRules(t), func(c *ServerConfig, d *ServerDeps) { d.Sink, c.PerClient = book, 1<<40 })
	const askers, each = 4, 500
	var askersDone sync.WaitGroup
	for range askers {
		askersDone.Go(func() {
			for i := range each {
				packet := packed(t, query(fmt.Sprintf("name-%d.example.org.", i%3), dns.TypeA))
				if w.again(nil, packet, machine) == nil {
					w.told(t, packet, machine)
				}
			}
		})
	}
	stop := make(chan struct{})
	var sweeper sync.WaitGroup
	sweeper.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				w.closeFolds(func(*fold) bool { return true })
				w.Settle()
			}
		}
	})
	askersDone.Wait()
	close(stop)
	sweeper.Wait()
	w.closeFolds(func(*fold) bool { return true })
	require.Equal(t, askers*each, book.count())
	lines := 0
	for _, r := range book.all() {
		lines += max(1, r.Repeats)
	}
	require.Equal(t, askers*each, lines, "and so says the log")
}

func TestTheShelfIsBounded(t *testing.T) {
	sh := newShelf()
	f := func(n int) *fold { return &fold{record: &flow.Record{}, ends: newClock().Now().Add(time.Duration(n))} }
	var out int
	const many = 3 * shelfSets * shelfWays
	for i := range many {
		key := fmt.Sprint("key ", i)
		if sh.put(&place{hash: sh.hash([]byte(key)), key: key, fold: f(i)}) != nil {
			out++
		}
	}
	in := 0
	sh.each(func(*fold) bool { in++; return false })
	require.Equal(t, many, in+out)
	require.LessOrEqual(t, in, shelfSets*shelfWays)
	newest := []byte(fmt.Sprint("key ", many-1))
	require.NotNil(t, sh.under(sh.hash(newest), newest), "the newest is there")
}

func TestWhatLiesReadyIsGivenWithoutAllocation(t *testing.T) {
	w := open(t, nettest.NewDNS(t, schoolZone...), schoolRules(t))
	out := make([]byte, 0, payload)
	for _, name := range []string{"emergeen.servicebus.windows.net.", "other.servicebus.windows.net."} {
		packet := packed(t, query(name, dns.TypeA))
		require.NotNil(t, w.told(t, packet, machine))
		require.Zero(t, testing.AllocsPerRun(100, func() {
			if w.again(out, packet, machine) == nil {
				t.Fatal("no answer")
			}
		}), name)
	}
}
