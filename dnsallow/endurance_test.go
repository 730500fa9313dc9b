package dnsallow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/flow"
	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

// Clients ask over UDP and TCP without a pause, and requests of the proxy
// besides, while upstreams fail in turn and together, and recover, and the rules
// are loaded anew: no question goes without an answer, each is counted once, and
// when it is over nothing is left of it. GATEHOUSE_WEATHER says for how long,
// like "25s" or "10m".
func TestEnduresFailingUpstreams(t *testing.T) {
	length, err := time.ParseDuration(os.Getenv("GATEHOUSE_WEATHER"))
	if err != nil {
		t.Skip("GATEHOUSE_WEATHER names no length of time, like 25s")
	}
	ups := []*nettest.DNS{nettest.NewDNS(t, schoolZone...), nettest.NewDNS(t, schoolZone...)}
	sockets := openFiles(t)
	book := new(tallied)
	live := new(policy.Live)
	live.Swap(schoolRules(t))
	r := NewResolver(ResolverConfig{
		Upstreams: []Upstream{upstream(t, ups[0].Addr), upstream(t, ups[1].Addr)}, CacheBytes: 64 << 10, NewNames: 1 << 40,
		Try: 400 * time.Millisecond, Total: 2 * time.Second, Hedge: 100 * time.Millisecond,
	}, ResolverDeps{})
	s := NewServer(ServerConfig{PerClient: 1 << 40}, ServerDeps{Live: live, Resolver: r, Sink: book})
	packets, streams := nettest.ListenDNS(t)
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, []*net.UDPConn{packets}, []net.Listener{streams}) }()

	end := time.Now().Add(length)
	var all sync.WaitGroup
	var asked, resolved atomic.Int64
	for c := range 8 {
		all.Go(func() { asked.Add(askUntil(t, end, packets.LocalAddr().String(), "udp", c)) })
	}
	for c := range 4 {
		all.Go(func() { asked.Add(askUntil(t, end, packets.LocalAddr().String(), "tcp", 100+c)) })
	}
	for range 2 {
		all.Go(func() { resolved.Add(resolveUntil(t, end, r, live)) })
	}
	weather(t, end, ups, live)
	all.Wait()
	stop()
	require.NoError(t, <-served)
	r.Close()

	t.Logf("%d questions and %d requests", asked.Load(), resolved.Load())
	require.Positive(t, asked.Load())
	require.Positive(t, resolved.Load())
	require.Equal(t, asked.Load(), book.counted.Load(), "each question is counted once")
	require.Equal(t, asked.Load(), book.written.Load(), "and is in one line of the log")
	require.Empty(t, r.flights.aloft)
	require.Zero(t, s.gate.under+s.lines.under+s.porch.under)
	require.Eventually(t, func() bool { return openFiles(t) <= sockets }, 30*time.Second, 50*time.Millisecond,
		"every socket is closed, those of the doubles once they have noticed")
}

// weather has the upstreams fail in turn and together until it is over, and the
// rules loaded anew each time. Only the last second is fair.
func weather(t *testing.T, end time.Time, ups []*nettest.DNS, live *policy.Live) {
	lies := func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: "evil.example.", Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.IPv4(10, 0, 0, 5)}}
		w.WriteMsg(m)
	}
	fair := []dns.HandlerFunc{nil, nil}
	for i := 0; time.Now().Before(end); i++ {
		now := [][]dns.HandlerFunc{
			fair, {nettest.Silence, nil}, fair, {nil, nettest.Rcode(dns.RcodeServerFailure)}, {nettest.Silence, nettest.Silence},
			fair, {lies, nettest.Rcode(dns.RcodeRefused)}, {nettest.Rcode(dns.RcodeServerFailure), nettest.Silence},
		}[i%8]
		if time.Until(end) < time.Second {
			now = fair
		}
		for u, h := range now {
			for _, name := range enduring {
				ups[u].Handle(name, h)
			}
		}
		live.Swap(schoolRules(t))
		timer := time.NewTimer(min(700*time.Millisecond, max(0, time.Until(end))))
		<-timer.C
	}
}

var enduring = []string{
	"www.groupcall.co.uk.", "emergeen.servicebus.windows.net.", "west.servicebus.windows.net.", "none.groupcall.co.uk.",
	"other.servicebus.windows.net.", "rebind.groupcall.co.uk.", "pinned.groupcall.co.uk.",
}

// askUntil asks one question after the other, names that are known and names
// that nobody has asked for before, and waits for each answer.
func askUntil(t *testing.T, end time.Time, server, network string, client int) (asked int64) {
	var conn *dns.Conn
	for time.Now().Before(end) {
		name := enduring[int(asked)%len(enduring)]
		if asked%5 == 4 {
			name = fmt.Sprintf("n%d-%d.groupcall.co.uk.", client, asked)
		}
		if conn == nil {
			c, err := net.Dial(network, server)
			if err != nil {
				t.Error(err)
				return asked
			}
			conn = &dns.Conn{Conn: c, UDPSize: 4096}
		}
		conn.SetDeadline(time.Now().Add(time.Minute))
		q := query(name, dns.TypeA)
		if err := conn.WriteMsg(q); err != nil {
			t.Error(network, name, err)
			return asked
		}
		asked++
		reply, err := conn.ReadMsg()
		if err != nil || reply.Id != q.Id {
			t.Error(network, name, "no answer:", err)
			return asked
		}
		for _, a := range answers(reply) {
			if a == "A 13.69.64.65" || a == "A 10.0.0.5" {
				t.Error(name, "an address that no rule permits:", a)
			}
		}
		if asked%100 == 0 {
			conn.Close()
			conn = nil
		}
	}
	if conn != nil {
		conn.Close()
	}
	return asked
}

// resolveUntil asks as the proxy does; now and then it gives up early.
func resolveUntil(t *testing.T, end time.Time, r *Resolver, live *policy.Live) (resolved int64) {
	for ; time.Now().Before(end); resolved++ {
		p := live.Policy()
		passage := permit(t, p, loopback, "emergeen.servicebus.windows.net", 443, time.Now())
		ctx, cancel := context.WithCancel(t.Context())
		if resolved%3 == 0 {
			cancel()
		}
		permits, _, err := r.Resolve(ctx, passage)
		cancel()
		var e *Error
		if err != nil && !errors.As(err, &e) && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		for _, a := range addrs(permits) {
			if a != "13.74.107.71" && a != "2603:1020:5::7" {
				t.Error("an address that no rule permits:", a)
			}
		}
	}
	return resolved
}

// tallied counts questions as the metrics do, and lines as the log does.
type tallied struct{ counted, written atomic.Int64 }

func (b *tallied) Record(r *flow.Record) {
	b.written.Add(int64(max(1, r.Repeats)))
	if r.Repeats == 0 {
		b.counted.Add(1)
	}
}

func (b *tallied) Repeated(_ *flow.Record, n int, _ time.Duration) { b.counted.Add(int64(n)) }

// openFiles is how many descriptors the process has; 0 where the system does not
// tell.
func openFiles(t *testing.T) int {
	if runtime.GOOS != "linux" {
		return 0
	}
	dir, err := os.Open("/proc/self/fd")
	require.NoError(t, err)
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	require.True(t, err == nil || errors.Is(err, io.EOF))
	return len(names)
}
