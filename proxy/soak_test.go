package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/flow"
	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

// The soak lets clients and origins do to the gate what the world does to it:
// answers cut short and broken, uploads given up, resets, half-closes, peers that
// say nothing or leave, policies that change under way. After each round every
// passage is in the book once, with the octets that its client and its origin have
// seen, and the gate holds what it held after the first one.
//
// It runs for as long as GATEHOUSE_SOAK says (25s, 20m), and not without it.

const (
	soakRound   = 2 * time.Second
	soakClients = 24
	few         = 2 // descriptors that the runtime may have open for a moment
)

func TestSoak(t *testing.T) { runSoak(t, carrier{}) }

// TestSoakInsideTLS does the same inside TLS that the gate looks into.
func TestSoakInsideTLS(t *testing.T) { runSoak(t, insideTLS) }

func runSoak(t *testing.T, over carrier) {
	length, err := time.ParseDuration(os.Getenv("GATEHOUSE_SOAK"))
	if err != nil {
		t.Skip("set GATEHOUSE_SOAK to a duration: GATEHOUSE_SOAK=25s go test -race -run '^TestSoak' ./proxy")
	}
	s := newSoak(t, over)
	var first, last holdings
	rounds := 0
	for end := time.Now().Add(length); rounds < 2 || time.Now().Before(end); rounds++ {
		s.round()
		s.quiesce()
		s.account()
		if rounds == 0 {
			first = s.holds()
			continue
		}
		// Pipes that splicing has used, and what pools keep, go with a collection.
		for until := time.Now().Add(2 * nettest.Patience); ; {
			if last = s.holds(); last.descriptors <= first.descriptors+few && last.heap <= first.heap+4<<20 {
				break
			}
			require.True(t, time.Now().Before(until), "after the first round the gate held %+v, after round %d %+v", first, rounds+1, last)
		}
	}
	t.Logf("%d rounds: %d passages, %d of them to their end, %d MiB; held after the first %+v, after the last %+v",
		rounds, s.passages, s.whole, s.octets>>20, first, last)
	require.Positive(t, s.whole)
}

// soak is a gate with everything around it.
type soak struct {
	t        *testing.T
	over     carrier // of the requests; what is said in tunnels is bare
	gate     *gate
	http     int // ports of origins
	tcp      int
	opened   atomic.Int64 // passages, by the book
	doing    sync.WaitGroup
	started  int // goroutines that were there before
	mu       sync.Mutex
	seen     map[string]*sight // by host or path
	book     []*flow.Record
	passages int
	whole    int
	octets   int64
}

// sight is what client and origin have seen of one passage.
type sight struct {
	sent, received int64 // by the client
	heard          int64 // by the origin
	answered       bool
	whole          bool // the origin has heard all of it
}

// everywhere leads every name to loopback.
type everywhere struct{}

func (everywhere) Resolve(_ context.Context, permit policy.Permit) ([]policy.Permit, policy.Verdict, error) {
	v, p := permit.Policy().Answer(policy.Answer{At: time.Now(), Permit: permit, Addr: netip.MustParseAddr("127.0.0.1")})
	if !v.Allowed() {
		return nil, v, nil
	}
	return []policy.Permit{p}, v, nil
}

// census counts the passages that begin.
type census struct{ opened *atomic.Int64 }

func (census) Record(*flow.Record)     {}
func (c census) Opened(policy.Surface) { c.opened.Add(1) }

func newSoak(t *testing.T, over carrier) *soak {
	s := &soak{t: t, over: over, seen: map[string]*sight{}, started: runtime.NumGoroutine()}
	s.http = s.listen(s.serveHTTP)
	if over.secure {
		config := &tls.Config{Certificates: []tls.Certificate{originAuthority(t).Sign(t, nil, steadyHost, flickerHost)}}
		s.http = s.listen(func(conn net.Conn) { s.serveHTTP(tls.Server(conn, config)) })
	}
	s.tcp = s.listen(s.serveTCP)
	book := &flow.Book{Sinks: []flow.Sink{census{&s.opened}}}
	s.gate = over.gate(t, options{deps: Deps{Resolver: everywhere{}, Book: book}}, s.rules(true)...)
	ended := make(chan struct{})
	var reading sync.WaitGroup
	t.Cleanup(func() { close(ended); reading.Wait() })
	reading.Go(func() { s.read(ended) })
	return s
}

// read takes the records from the gate, which would wait for that.
func (s *soak) read(over chan struct{}) {
	for {
		select {
		case r := <-s.gate.records:
			s.mu.Lock()
			s.book = append(s.book, r)
			s.mu.Unlock()
		case <-over:
			return
		}
	}
}

// recorded is how many records have been taken since the last account.
func (s *soak) recorded() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.book)
}

// The hosts that are asked for; the second comes and goes. The CA of the tests
// may vouch for names like these alone.
const (
	steadyHost  = "steady.example.org"
	flickerHost = "flicker.example.org"
)

// rules permit everything, or all but what flickers.
func (s *soak) rules(flickers bool) []policy.Rule {
	list := []policy.Rule{s.over.allow(steadyHost, s.http), allow("*.tunnel.example", s.tcp, rawTCP)}
	if flickers {
		list = append(list, s.over.allow(flickerHost, s.http), allow("*.glimmer.example", s.tcp, rawTCP))
	}
	return list
}

// listen starts an origin that ends with the test.
func (s *soak) listen(serve func(net.Conn)) (port int) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(s.t, err)
	var serving sync.WaitGroup
	s.t.Cleanup(func() { ln.Close(); serving.Wait() })
	serving.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conn.SetDeadline(time.Now().Add(2 * nettest.Patience)) // bounds what a fault would hang
			serving.Go(func() {
				defer conn.Close()
				serve(conn)
			})
		}
	})
	return ln.Addr().(*net.TCPAddr).Port
}

// at is what has been seen of a passage.
func (s *soak) at(name string, change func(*sight)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen[name] == nil {
		s.seen[name] = &sight{}
	}
	change(s.seen[name])
}

// round lets the clients loose, and changes the policy under them.
func (s *soak) round() {
	over := make(chan struct{})
	for range soakClients {
		s.doing.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-over:
					return
				default:
					s.client()
				}
			}
		})
	}
	every := time.NewTicker(soakRound / 20)
	defer every.Stop()
	for n := range 20 {
		<-every.C
		s.gate.swap(policy.Enforce, s.rules(n%2 == 1)...) // the last one permits everything
		s.gate.server.Review()
	}
	close(over)
	s.doing.Wait()
}

var soakNumber atomic.Int64

// client is one connection of one client.
func (s *soak) client() {
	conn, err := net.Dial("tcp", s.gate.addr)
	if err != nil {
		return
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(nettest.Patience))
	in := bufio.NewReader(conn)
	if rand.IntN(3) == 0 {
		s.tunnel(conn, in)
		return
	}
	s.ask(conn, in)
	if rand.IntN(4) == 0 {
		conn.(*net.TCPConn).SetLinger(0) // a reset
	}
}

// ask lets a client make some requests; where they go inside TLS, to one host and
// in a tunnel to it.
func (s *soak) ask(conn net.Conn, in *bufio.Reader) {
	host := func() string { return fmt.Sprintf("%s:%d", pick(steadyHost, steadyHost, flickerHost), s.http) }
	if s.over.secure {
		site := host()
		fmt.Fprintf(conn, "CONNECT %[1]s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", site)
		resp, err := http.ReadResponse(in, &http.Request{Method: "CONNECT"})
		if err != nil || resp.StatusCode != 200 {
			return
		}
		secure := tls.Client(conn, clientTLS(site, func(c *tls.Config) { c.NextProtos = nil }))
		if secure.Handshake() != nil {
			return // the policy has changed
		}
		conn, in, host = secure, bufio.NewReader(secure), func() string { return site }
	}
	for range 1 + rand.IntN(6) {
		if !s.exchange(conn, in, host()) {
			break
		}
	}
}

// exchange asks for something and reports whether the connection is good for more.
func (s *soak) exchange(conn net.Conn, in *bufio.Reader, host string) bool {
	path := fmt.Sprintf("/%s/%d", pick("sized", "sized", "chunked", "large", "short", "broken", "silent", "early", "gone", "refused"), soakNumber.Add(1))
	method, fields, body := s.upload()
	scheme := "http"
	if s.over.secure {
		scheme = "https"
	}
	fmt.Fprintf(conn, "%s %s://%s%s HTTP/1.1\r\nHost: %[3]s\r\n%[5]s\r\n", method, scheme, host, path, fields)
	sent := make(chan bool, 1)
	go func() { sent <- s.send(conn, path, body) }()
	if strings.HasPrefix(path, "/silent") {
		conn.SetReadDeadline(time.Now().Add(time.Duration(rand.IntN(20)) * time.Millisecond))
	}
	resp, err := http.ReadResponse(in, &http.Request{Method: method})
	if err == nil {
		n, broken := io.Copy(io.Discard, &leaving{Reader: resp.Body})
		s.at(path, func(x *sight) { x.received, x.answered = n, resp.Header.Get(ownField) == "" })
		err = broken
	}
	if err != nil {
		conn.Close() // and the upload with it
	}
	return <-sent && err == nil && !resp.Close
}

func pick(list ...string) string { return list[rand.IntN(len(list))] }

// leaving is a body whose reader sometimes has enough of it.
type leaving struct{ io.Reader }

func (l *leaving) Read(p []byte) (int, error) {
	if rand.IntN(50) == 0 {
		return 0, io.ErrClosedPipe
	}
	return l.Reader.Read(p)
}

// upload is what a request says of its body, and the pieces of that.
func (s *soak) upload() (method, fields string, body []string) {
	size := rand.IntN(20000)
	piece := strings.Repeat("u", size)
	switch rand.IntN(6) {
	case 0:
		return "POST", fmt.Sprintf("Content-Length: %d\r\n", size), []string{piece}
	case 1:
		return "POST", fmt.Sprintf("Content-Length: %d\r\n", 2*size), []string{piece, piece}
	case 2: // given up
		return "POST", fmt.Sprintf("Content-Length: %d\r\n", 2*size+1), []string{piece, ""}
	case 3:
		chunk := fmt.Sprintf("%x\r\n%s\r\n", size+1, piece+"u")
		return "POST", "Transfer-Encoding: chunked\r\n", []string{chunk, chunk, "0\r\nX-Sum: 1\r\n\r\n"}
	}
	return "GET", "", nil
}

// send sends the pieces; an empty one gives up.
func (s *soak) send(conn net.Conn, path string, body []string) bool {
	for _, piece := range body {
		if piece == "" {
			conn.Close()
			return false
		}
		n, err := io.WriteString(conn, piece)
		s.at(path, func(x *sight) { x.sent += int64(n) })
		if err != nil {
			return false
		}
	}
	return true
}

// tunnel opens a tunnel and lets bytes through it.
func (s *soak) tunnel(conn net.Conn, in *bufio.Reader) {
	host := fmt.Sprintf("n%d.%s.example", soakNumber.Add(1), pick("tunnel", "tunnel", "glimmer"))
	early := pick("", "early")
	fmt.Fprintf(conn, "CONNECT %s:%d HTTP/1.1\r\nHost: %[1]s:%[2]d\r\n\r\n%[3]s", host, s.tcp, "")
	resp, err := http.ReadResponse(in, &http.Request{Method: "CONNECT"})
	if err != nil || resp.StatusCode != 200 {
		return
	}
	// The first line tells the origin which tunnel it is and what to do.
	say := fmt.Sprintf("%s %s\n%s", host, pick("echo", "echo", "reset", "mute"), early+strings.Repeat("t", rand.IntN(1<<uint(rand.IntN(19)))))
	s.at(host, func(x *sight) { x.sent = int64(len(say)) })
	reading := make(chan int64, 1)
	go func() {
		n, _ := io.Copy(io.Discard, in)
		reading <- n
	}()
	_, err = io.WriteString(conn, say)
	switch rand.IntN(4) {
	case 0:
		conn.Close()
	case 1:
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	default:
		conn.(*net.TCPConn).CloseWrite()
	}
	n := <-reading
	s.at(host, func(x *sight) { x.received, x.answered = n, err == nil })
}

// quiesce waits until nothing of a round is left, and closes what is kept for the
// next request.
func (s *soak) quiesce() {
	server := s.gate.server
	require.Eventually(s.t, func() bool {
		server.pool.sweep(1<<62, -1)
		return s.gate.open() == 0 && len(server.passages.all()) == 0
	}, 2*nettest.Patience, 5*time.Millisecond, "clients have left, and the gate has not noticed")
	require.Eventually(s.t, func() bool {
		server.pool.sweep(1<<62, -1)
		// The resting, the listeners, the keeper, the sweeper, and who asks here.
		return runtime.NumGoroutine() <= s.started+mostResting+16
	}, 2*nettest.Patience, 5*time.Millisecond, "goroutines are left")
}

// holdings are what a process holds.
type holdings struct {
	descriptors int
	heap        int64
}

func (s *soak) holds() holdings {
	bytes := heap()
	entries, _ := os.ReadDir("/proc/self/fd")
	return holdings{len(entries), bytes}
}

// account holds the book against what both ends have seen, and forgets it.
func (s *soak) account() {
	require.Eventually(s.t, func() bool { return s.opened.Load() == int64(s.passages+s.recorded()) },
		2*nettest.Patience, 5*time.Millisecond, "not each passage that began is in the book")
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.book {
		s.passages++
		s.octets += r.Sent + r.Received
		name := r.Path
		if r.Surface == policy.CONNECT {
			name = r.Host
		}
		if x := s.seen[name]; x != nil { // else it never got so far
			s.check(r, x)
		}
	}
	s.book = nil
	clear(s.seen)
}

// check holds a record against what both ends have seen: nobody has seen more than
// was carried, and where all went well, not less.
func (s *soak) check(r *flow.Record, x *sight) {
	what := fmt.Sprintf("%s %s%s %s, ended as %s, %d sent, %d received, seen: %+v", r.Surface, r.Host, r.Path, r.ID, r.End, r.Sent, r.Received, *x)
	if x.answered {
		require.GreaterOrEqual(s.t, r.Received, x.received, what)
		require.GreaterOrEqual(s.t, r.Sent, x.heard, what)
	}
	if r.Surface == policy.CONNECT {
		require.LessOrEqual(s.t, r.Sent, x.sent, what)
	}
	if r.End == "done" && x.whole {
		s.whole++
		require.Equal(s.t, x.heard, r.Sent, what)
	}
}
