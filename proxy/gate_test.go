package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"gatehouse/internal/flow"
	"gatehouse/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = 10 * time.Second

var loopback = netip.MustParsePrefix("127.0.0.0/8")

// gate is a proxy under test, with everything it depends on in reach.
type gate struct {
	t        *testing.T
	server   *Server
	live     *policy.Live
	resolver *fakeResolver
	records  chan *flow.Record
	addr     string
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
		return nil, v, fmt.Errorf("no such name")
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
	names  map[string]string // further names, or other addresses
}

// newGate starts a gate with rules; every name resolves to 127.0.0.1.
func newGate(t *testing.T, o options, rules ...policy.Rule) *gate {
	t.Helper()
	g := &gate{t: t, live: &policy.Live{}, records: make(chan *flow.Record, 4096), resolver: &fakeResolver{names: map[string][]netip.Addr{}}}
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
	if o.config.Linger == 0 {
		o.config.Linger = 200 * time.Millisecond
	}
	g.server = New(o.config, o.deps)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	g.addr = ln.Addr().String()
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

// swap puts rules into force.
func (g *gate) swap(mode policy.Mode, rules ...policy.Rule) {
	p, err := policy.Compile(policy.Spec{Mode: mode, Rules: rules, TreatAsPublic: []netip.Prefix{loopback}, SHA256: "5ha"})
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
		Name: fmt.Sprintf("%s-%d", host, port), Line: 7, Clients: policy.Clients{Any: true},
		Hosts: []policy.ListedHost{{HostPattern: pattern}}, Ports: []policy.PortRange{{First: uint16(port), Last: uint16(port)}},
		Addresses: policy.Addresses{Default: true},
	}
	for _, f := range change {
		f(&r)
	}
	return r
}

func as(p policy.Protocol) func(*policy.Rule) { return func(r *policy.Rule) { r.Protocol = p } }

// plainHTTP and tunnelled say what a port carries.
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

// record waits for the next entry of the book.
func (g *gate) record() *flow.Record {
	g.t.Helper()
	select {
	case r := <-g.records:
		return r
	case <-time.After(patience):
		require.FailNow(g.t, "no record came")
		return nil
	}
}

// peer is a raw connection to the gate, or to whatever a test talks to.
type peer struct {
	t testing.TB
	net.Conn
	in *bufio.Reader
}

func (g *gate) dial() *peer {
	g.t.Helper()
	return dialPeer(g.t, g.addr)
}

func dialPeer(t testing.TB, addr string) *peer {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return &peer{t: t, Conn: conn, in: bufio.NewReader(conn)}
}

// say sends bytes as they stand.
func (p *peer) say(format string, args ...any) *peer {
	p.t.Helper()
	_, err := fmt.Fprintf(p.Conn, format, args...)
	require.NoError(p.t, err)
	return p
}

// head reads up to and including an empty line.
func (p *peer) head() string {
	p.t.Helper()
	var b strings.Builder
	for {
		line, err := p.in.ReadString('\n')
		b.WriteString(line)
		require.NoError(p.t, err, "after %q", b.String())
		if line == "\r\n" {
			return b.String()
		}
	}
}

// expect reads exactly what is given.
func (p *peer) expect(want string) *peer {
	p.t.Helper()
	got := make([]byte, len(want))
	n, err := io.ReadFull(p.in, got)
	require.NoError(p.t, err, "got %q of %q", got[:n], want)
	require.Equal(p.t, want, string(got))
	return p
}

// response reads one whole response.
func (p *peer) response(method string) (*http.Response, string) {
	p.t.Helper()
	resp, err := http.ReadResponse(p.in, &http.Request{Method: method})
	require.NoError(p.t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(p.t, err)
	return resp, string(body)
}

// ended waits for the end of the connection, orderly or not, and returns what
// came before.
func (p *peer) ended() (rest string, err error) {
	p.t.Helper()
	b, err := io.ReadAll(p.in)
	if n, ok := err.(net.Error); ok && n.Timeout() {
		require.FailNow(p.t, "the connection did not end")
	}
	return string(b), err
}

// origin is a raw server: each connection is handed to the test's script.
type origin struct {
	addr  string
	port  int
	conns chan *peer
}

// newOrigin listens on loopback; take hands out its connections.
func newOrigin(t *testing.T) *origin {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	o := &origin{addr: ln.Addr().String(), port: ln.Addr().(*net.TCPAddr).Port, conns: make(chan *peer, 64)}
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conn.SetDeadline(time.Now().Add(patience))
			o.conns <- &peer{t: t, Conn: conn, in: bufio.NewReader(conn)}
		}
	})
	t.Cleanup(func() {
		ln.Close()
		accepting.Wait()
		for len(o.conns) > 0 {
			(<-o.conns).Close()
		}
	})
	return o
}

// take waits for the next connection.
func (o *origin) take(t testing.TB) *peer {
	t.Helper()
	select {
	case p := <-o.conns:
		t.Cleanup(func() { p.Close() })
		return p
	case <-time.After(patience):
		require.FailNow(t, "nobody connected to the origin")
		return nil
	}
}

// untouched asserts that nobody has connected.
func (o *origin) untouched(t testing.TB) {
	t.Helper()
	require.Empty(t, o.conns, "the origin was dialled")
}

func port(o *origin) string { return fmt.Sprint(o.port) }
