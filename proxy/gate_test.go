package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/flow"
	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

func TestMain(m *testing.M) {
	poisonHeads = true
	nettest.Main(m)
}

var loopback = netip.MustParsePrefix("127.0.0.0/8")

// gate is a proxy under test, with everything it depends on in reach.
type gate struct {
	t        *testing.T
	server   *Server
	live     *policy.Live
	resolver *fakeResolver
	records  chan *flow.Record
	door     net.Listener
	addr     string
	over     carrier
	site     string    // host and port to which dial opens a tunnel, where the carrier is TLS
	way      *Entrance // the published door, and where it is
	wayIn    string
	leave    func() // closes it, and waits
}

// fakeResolver knows names by heart and asks the policy about each address, as
// the real one does.
type fakeResolver struct {
	mu        sync.Mutex
	names     map[string][]netip.Addr
	questions []string
	do        func(name string) error // called first; may panic
}

func (f *fakeResolver) Resolve(ctx context.Context, permit policy.Permit) (permits []policy.Permit, v policy.Verdict, err error) {
	name := permit.Dest().Host.Name()
	f.mu.Lock()
	f.questions = append(f.questions, name)
	addrs, do := f.names[name], f.do
	if host := permit.Dest().Host; host.IsIP() {
		addrs = []netip.Addr{host.Addr()}
	}
	f.mu.Unlock()
	if do != nil {
		if err := do(name); err != nil {
			return nil, v, err
		}
	}
	if len(addrs) == 0 {
		return nil, v, errors.New("no such name")
	}
	var refused policy.Verdict
	for _, a := range addrs {
		answer, p := permit.Policy().Answer(policy.Answer{At: time.Now(), Permit: permit, Addr: a})
		if answer.Allowed() {
			permits, v = append(permits, p), answer
		} else {
			refused = answer
		}
	}
	if len(permits) == 0 {
		return nil, refused, nil
	}
	return permits, v, nil
}

func (f *fakeResolver) asked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.questions...)
}

type chanSink chan *flow.Record

func (c chanSink) Record(r *flow.Record) { c <- r }

// options change a gate before it starts.
type options struct {
	config Config
	deps   Deps
	mode   policy.Mode
	over   carrier
	names  map[string]string // further names, or other addresses
}

// newGate starts a gate with rules; every name resolves to 127.0.0.1.
func newGate(t *testing.T, o options, rules ...policy.Rule) *gate {
	t.Helper()
	g := &gate{t: t, over: o.over, live: &policy.Live{}, records: make(chan *flow.Record, 4096), resolver: &fakeResolver{names: map[string][]netip.Addr{}}}
	g.swap(o.mode, rules...)
	for _, r := range rules {
		for _, h := range r.Hosts {
			g.resolver.names[h.String()] = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
		}
	}
	for name, addr := range o.names {
		g.resolver.names[name] = nil
		for a := range strings.FieldsSeq(addr) {
			g.resolver.names[name] = append(g.resolver.names[name], netip.MustParseAddr(a))
		}
	}
	o.deps.Policy = g.live
	if o.deps.Resolver == nil {
		o.deps.Resolver = g.resolver
	}
	if o.deps.Book == nil {
		o.deps.Book = &flow.Book{}
	}
	o.deps.Book.Sinks = append(o.deps.Book.Sinks, chanSink(g.records))
	g.server = New(patient(o.config), o.deps)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	g.door, g.addr = ln, ln.Addr().String()
	var serving sync.WaitGroup
	serving.Go(func() { g.server.Serve(context.Background(), ln) })
	t.Cleanup(func() {
		now, cancel := context.WithCancel(context.Background())
		cancel()
		g.server.Shutdown(now)
		serving.Wait()
	})
	return g
}

// patient has a gate wait for whoever is only slow, where the test says nothing
// else.
func patient(c Config) Config {
	for _, d := range []*time.Duration{&c.Opening, &c.Hold, &c.Dial} {
		if *d == 0 {
			*d = nettest.Patience
		}
	}
	if c.Linger == 0 {
		c.Linger = 200 * time.Millisecond
	}
	return c
}

// swap puts rules into force.
func (g *gate) swap(mode policy.Mode, rules ...policy.Rule) {
	spec := policy.Spec{Mode: mode, Rules: rules, Inspection: g.over.secure, TreatAsPublic: []netip.Prefix{loopback}, SHA256: "5ha"}
	if g.over.published {
		for i := range rules {
			spec.Publications = append(spec.Publications, g.over.publication(&rules[i]))
		}
		spec.Rules = nil
	}
	g.swapSpec(spec)
}

// swapSpec puts a whole policy into force.
func (g *gate) swapSpec(spec policy.Spec) {
	p, err := policy.Compile(spec)
	require.NoError(g.t, err)
	g.live.Swap(p)
}

// allow is an allow for one host and port, for any permitted client.
func allow(host string, port int, change ...func(*policy.Rule)) policy.Rule {
	pattern, err := policy.ParseHostPattern(host)
	if err != nil {
		panic(err)
	}
	r := policy.Rule{
		Name: host + "-" + strconv.Itoa(port), Line: 7, Clients: policy.Clients{Any: true},
		Hosts: []policy.ListedHost{{HostPattern: pattern}}, Ports: []policy.PortRange{{First: uint16(port), Last: uint16(port)}},
		Addresses: policy.Addresses{Default: true},
	}
	for _, f := range change {
		f(&r)
	}
	return r
}

// plainHTTP, rawTCP and overTLS say what a port carries.
func plainHTTP(r *policy.Rule) { r.Protocol = policy.PlainHTTP }
func rawTCP(r *policy.Rule)    { r.Protocol = policy.TCP }
func overTLS(r *policy.Rule)   { r.Protocol = policy.TLS }

// types requires media types of the paths that glob names.
func types(glob string, list ...string) func(*policy.Rule) {
	g, err := policy.ParseGlob(glob)
	if err != nil {
		panic(err)
	}
	e := policy.TypeEntry{Glob: g}
	for _, s := range list {
		m, err := policy.ParseMediaType(s)
		if err != nil {
			panic(err)
		}
		e.Types = append(e.Types, m)
	}
	return func(r *policy.Rule) { r.Types = append(r.Types, e) }
}

// record waits for the next entry of the book; where the carrier is TLS, for the
// next of what is inside.
func (g *gate) record() *flow.Record {
	g.t.Helper()
	for {
		if r := g.entry(); !g.over.secure || r.Surface != policy.CONNECT {
			return r
		}
	}
}

// entry waits for the next entry of the book.
func (g *gate) entry() *flow.Record {
	g.t.Helper()
	select {
	case r := <-g.records:
		return r
	case <-time.After(nettest.Patience):
		require.FailNow(g.t, "no record came")
		return nil
	}
}

// dial connects to where requests are taken: the gate, or the inside of a tunnel.
func (g *gate) dial() *nettest.Peer {
	g.t.Helper()
	switch {
	case g.over.published:
		return g.enter()
	case g.over.secure:
		return g.inside(g.site)
	}
	return g.knock()
}

// knock connects to the gate.
func (g *gate) knock() *nettest.Peer {
	g.t.Helper()
	return nettest.Dial(g.t, g.addr)
}

// get sends a plain GET for a host and port on a new connection.
func (g *gate) get(host string, port int, path string) *nettest.Peer {
	g.t.Helper()
	return g.dial().Say("GET http://%[1]s:%[2]d%[3]s HTTP/1.1\r\nHost: %[1]s:%[2]d\r\n\r\n", host, port, path)
}

// connect opens a tunnel that is expected to be opened.
func (g *gate) connect(host string, port int) *nettest.Peer {
	g.t.Helper()
	c := g.knock().Say("CONNECT %[1]s:%[2]d HTTP/1.1\r\nHost: %[1]s:%[2]d\r\n\r\n", host, port)
	return c.Expect("HTTP/1.1 200 Connection established\r\n\r\n")
}

func portOf(o *nettest.Origin) string { return strconv.Itoa(o.Port) }

func methods(list ...string) func(*policy.Rule) { return func(r *policy.Rule) { r.Methods = list } }

func prefixesOf(list ...string) (p []netip.Prefix) {
	for _, s := range list {
		p = append(p, netip.MustParsePrefix(s))
	}
	return p
}

func (f *fakeResolver) set(name string, addrs ...netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.names[name] = addrs
}

// door is a listener at a given address.
type door struct{ net.Listener }

func listenAt(t *testing.T, addr string) door {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { ln.Close() })
	return door{ln}
}

func (d door) take(t *testing.T) *nettest.Peer {
	t.Helper()
	d.Listener.(*net.TCPListener).SetDeadline(time.Now().Add(nettest.Patience))
	conn, err := d.Accept()
	require.NoError(t, err)
	return nettest.NewPeer(t, conn)
}
