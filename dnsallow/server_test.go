package dnsallow

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/flow"
	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

// ledger is a book that remembers.
type ledger struct {
	mu      sync.Mutex
	records []*flow.Record
}

func (l *ledger) Record(r *flow.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = append(l.records, r)
}

func (l *ledger) all() []*flow.Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]*flow.Record(nil), l.records...)
}

// only is the one record there is, which is then forgotten.
func (l *ledger) only(t testing.TB) *flow.Record {
	t.Helper()
	all := l.all()
	require.Len(t, all, 1)
	l.forget()
	return all[0]
}

func (l *ledger) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = nil
}

// window is a server on loopback with everything a test wants to look at.
type window struct {
	*Server
	addr  string
	live  *policy.Live
	book  *ledger
	clock *clock
	up    *nettest.DNS
	stop  func() // ends Serve and waits for it
}

// open starts a server under p in front of up.
func open(t testing.TB, up *nettest.DNS, p *policy.Policy, changes ...func(*ServerConfig, *ServerDeps)) *window {
	t.Helper()
	w := &window{live: new(policy.Live), book: new(ledger), clock: newClock(), up: up}
	w.live.Swap(p)
	config := ServerConfig{}
	deps := ServerDeps{Live: w.live, Resolver: resolverTo(t, up, w.clock), Sink: w.book, Now: w.clock.Now}
	for _, change := range changes {
		change(&config, &deps)
	}
	w.Server = NewServer(config, deps)
	udp, tcp := nettest.ListenDNS(t)
	w.addr = udp.LocalAddr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.Serve(ctx, []*net.UDPConn{udp}, []net.Listener{tcp})
	}()
	w.stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(w.stop)
	return w
}

// patience is how long a test waits for what must come, and lull how long for
// what does not come: an answer that is there does not take so long.
const (
	patience = 30 * time.Second
	lull     = 3 * time.Second
)

// raw sends bytes over UDP and returns the reply's, nil after a moment of
// silence.
func (w *window) raw(t testing.TB, packet []byte, wait time.Duration) []byte {
	t.Helper()
	conn, err := net.Dial("udp", w.addr)
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write(packet)
	require.NoError(t, err)
	conn.SetReadDeadline(time.Now().Add(wait))
	buf := make([]byte, dns.MaxMsgSize)
	n, err := conn.Read(buf)
	if err != nil {
		return nil
	}
	return buf[:n]
}

// ask sends a message over UDP and reads the reply.
func (w *window) ask(t testing.TB, m *dns.Msg) *dns.Msg {
	t.Helper()
	wire, err := m.Pack()
	require.NoError(t, err)
	return w.read(t, w.raw(t, wire, patience))
}

func (w *window) read(t testing.TB, wire []byte) *dns.Msg {
	t.Helper()
	require.NotNil(t, wire, "no answer came")
	reply := new(dns.Msg)
	require.NoError(t, reply.Unpack(wire))
	require.True(t, reply.Response)
	return reply
}

// query makes a question with EDNS.
func query(name string, qtype uint16) *dns.Msg {
	return new(dns.Msg).SetQuestion(name, qtype).SetEdns0(4096, false)
}

// explained is the extended error of a reply, code 0 where it has none.
func explained(m *dns.Msg) (code uint16, text string) {
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if e, ok := o.(*dns.EDNS0_EDE); ok {
				return e.InfoCode, e.ExtraText
			}
		}
	}
	return 0, ""
}

// answers are the data of the answer section, without owners and TTLs.
func answers(m *dns.Msg) []string {
	list := []string{}
	for _, rr := range m.Answer {
		text := rr.String()
		list = append(list, dns.TypeToString[rr.Header().Rrtype]+" "+text[len(rr.Header().String()):])
	}
	return list
}

// schoolZone and schoolRules are a world in small for the tables below. The
// names of North Europe deployments are invented: no real one is published.
var schoolZone = []string{
	"emergeen.servicebus.windows.net. 9 IN CNAME ns-sb2-prod-db3-001.cloudapp.net.",
	"ns-sb2-prod-db3-001.cloudapp.net. 9 IN A 13.74.107.71",
	"ns-sb2-prod-db3-001.cloudapp.net. 9 IN A 13.69.64.65",
	"ns-sb2-prod-db3-001.cloudapp.net. 9 IN AAAA 2603:1020:5::7",
	"west.servicebus.windows.net. 9 IN A 13.69.64.65",
	"other.servicebus.windows.net. 9 IN A 13.74.107.71",
	"www.groupcall.co.uk. 300 IN A 51.140.10.10",
	"rebind.groupcall.co.uk. 300 IN A 10.0.0.5",
	"pinned.groupcall.co.uk. 300 IN CNAME www.groupcall.co.uk.",
	"mask.icloud.com. 300 IN A 17.0.0.1",
	"www.icloud.com. 300 IN A 17.0.0.2",
	"www.groupcall.co.uk. 300 IN HTTPS 1 . ipv4hint=13.69.64.65",
	"blocked.groupcall.co.uk. 300 IN A 51.140.10.11",
}

func schoolRules(t testing.TB) *policy.Policy {
	return compile(t,
		allow(t, "bus", "emergeen.servicebus.windows.net", into(northEurope)),
		allow(t, "west", "west.servicebus.windows.net", into(northEurope)),
		allow(t, "web", "*.groupcall.co.uk"),
		allow(t, "pinned", "pinned.example.org"),
		allow(t, "apple", "*.icloud.com"),
		allow(t, "strict", "strict.example.org", through(t)),
		deny(t, "never", "blocked.groupcall.co.uk"),
	)
}
