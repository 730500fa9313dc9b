package proxy

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/internal/flow"
	"gatehouse/internal/http1"
	"gatehouse/policy"
	"gatehouse/proxy/keeper"
	"gatehouse/proxy/trust"
)

// Resolver turns a Permit for a name into Permits for single judged addresses,
// in the order in which they are to be dialled. A refusing Verdict comes with no
// Permits. An error tells of trouble upstream; if it has a method Timeout() bool
// that says so, the client is told of a time-out. A Permit for an address literal
// is answered without any look-up.
type Resolver interface {
	Resolve(ctx context.Context, permit policy.Permit) ([]policy.Permit, policy.Verdict, error)
}

// Config is how the gate behaves. Each zero value stands for the default in
// brackets.
type Config struct {
	Pseudonym   string // our name in Via, a token (gatehouse); give each appliance its own
	Connections int    // open client connections, in all (20000)
	PerClient   int    // and for one client address (4096)
	HeaderBytes int    // bytes of one head or trailer section (65536)

	HeadTime   time.Duration // from the first byte of a head to its end (30 s)
	KeepAlive  time.Duration // a client connection without a request (2 min)
	Opening    time.Duration // until a tunnel has shown its first bytes (10 s)
	Hold       time.Duration // a response head held back for its first bytes (1 s)
	Dial       time.Duration // all attempts to reach an origin (8 s)
	Stagger    time.Duration // between two attempts, RFC 8305 (250 ms)
	TunnelIdle time.Duration // a tunnel, or a stream in both directions, without a byte (1 h)
	Stall      time.Duration // a peer that takes nothing more, or keeps back what it promised (5 min)
	OriginIdle time.Duration // an origin connection kept for the next request (90 s)
	// PublishRate is how many requests a second one client may bring to published
	// doors, and ten seconds' worth of them at once (100).
	PublishRate int
	Linger      time.Duration // reading on after a last answer, so that it arrives (2 s)
	// Roots are whom the certificates of origins must come from where the gate
	// looks inside TLS; nil: the system's.
	Roots *x509.CertPool

	// Parents are the parent proxies, in the order in which they are tried; none:
	// origins are dialled directly.
	Parents []Parent

	// ResponseHead bounds the wait for an origin's response head. Zero is no
	// bound: a long poll may keep its head back for as long as it likes.
	ResponseHead time.Duration
}

// Deps are what the gate works with. Policy and Resolver are required.
type Deps struct {
	Policy   *policy.Live
	Resolver Resolver
	Book     *flow.Book // nil: nothing is written down
	Log      *slog.Logger
	// Own reports whether an address is one of the appliance's own listeners:
	// those are never dialled. Nil: there are none.
	Own func(netip.AddrPort) bool
	// Local reports whether an address is this machine's: what comes in by a published
	// door is never led there, whoever listens. Nil: none is.
	Local func(netip.Addr) bool
	// Told knows what redirected connections are for that show no name. Nil:
	// nobody was told anything.
	Told Told
	// ParentAddresses finds the addresses of a parent proxy's own name. Nil: the
	// system does. ParentFault is told what a parent did not do; nil: nobody is.
	ParentAddresses func(ctx context.Context, host string) ([]netip.Addr, error)
	ParentFault     func(*ParentFault)
	Now             func() time.Time // nil: time.Now
}

// Server is the gate. Make one with New; Serve may be called for several
// listeners. Whoever calls Serve must call Shutdown, which waits for every
// connection to end.
type Server struct {
	config    Config
	deps      Deps
	born      time.Time // the sweeper's clock counts from here
	guest     http.Handler
	trust     *trust.Client
	pool      pool
	pseudonym http1.Pseudonym
	dialer    dialer
	keeper    *keeper.Keeper // carries the tunnels

	inspection atomic.Pointer[inspection] // nil: nothing is looked into
	dateline   dateline
	complaints complaints
	logins     logins
	rates      rates // of what comes to published doors

	draining  atomic.Bool
	busy      sync.WaitGroup // one for each client connection
	crew      sync.WaitGroup // one for each worker
	refusing  chan struct{}  // bounds the connections that are being told of the limit
	mu        sync.Mutex     // guards all below
	listeners map[net.Listener]struct{}
	resting   []*worker // who has nothing to do, the last to come last
	clients   roster    // connections that have a worker
	insides   roster    // what is read inside their tunnels
	open      int       // connections of clients, those of kept tunnels too
	perClient map[netip.Addr]int
	sweeper   *time.Timer // nil while there is nothing to watch

	passages registry
}

// New makes a gate. It starts nothing.
func New(config Config, deps Deps) *Server {
	config.fill()
	deps.fill()
	s := &Server{
		config: config, deps: deps, born: time.Now(),
		dialer:    dialer{timeout: config.Dial, stagger: config.Stagger, own: deps.Own, local: deps.Local},
		keeper:    keeper.New(config.TunnelIdle),
		logins:    newLogins(),
		rates:     rates{each: time.Second / time.Duration(config.PublishRate), next: map[netip.Addr]time.Time{}},
		refusing:  make(chan struct{}, 64),
		listeners: map[net.Listener]struct{}{},
		perClient: map[netip.Addr]int{},
	}
	s.dialer.keeper, s.dialer.parents = s.keeper, s.newParents()
	s.passages.init()
	s.pool.idle = map[place][]*link{}
	s.pseudonym, _ = http1.ParsePseudonym(config.Pseudonym)
	s.guest = newGuest()
	s.trust = trust.New(config.Roots, deps.Now)
	return s
}

func (c *Config) fill() {
	if _, err := http1.ParsePseudonym(c.Pseudonym); err != nil {
		c.Pseudonym = product
	}
	orInt(&c.Connections, 20000)
	orInt(&c.PerClient, 4096)
	orInt(&c.HeaderBytes, 65536)
	orInt(&c.PublishRate, 100)
	orTime(&c.HeadTime, 30*time.Second)
	orTime(&c.KeepAlive, 2*time.Minute)
	orTime(&c.Opening, 10*time.Second)
	orTime(&c.Hold, time.Second)
	orTime(&c.Dial, 8*time.Second)
	orTime(&c.Stagger, 250*time.Millisecond)
	orTime(&c.TunnelIdle, time.Hour)
	orTime(&c.Stall, 5*time.Minute)
	orTime(&c.OriginIdle, 90*time.Second)
	orTime(&c.Linger, 2*time.Second)
}

func orInt(n *int, dflt int) {
	if *n <= 0 {
		*n = dflt
	}
}

func orTime(d *time.Duration, dflt time.Duration) {
	if *d <= 0 {
		*d = dflt
	}
}

func (d *Deps) fill() {
	if d.Book == nil {
		d.Book = &flow.Book{}
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Own == nil {
		d.Own = func(netip.AddrPort) bool { return false }
	}
	if d.Local == nil {
		d.Local = func(netip.Addr) bool { return false }
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.ParentAddresses == nil {
		d.ParentAddresses = lookup
	}
}

// Serve takes connections from ln until ctx ends or Shutdown is called; then it
// closes ln and returns nil. It returns an error where the listener itself
// fails. Connections it took go on until they end or Shutdown ends them.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	return s.take(ctx, ln, func(conn net.Conn) { s.accept(newClientConn(s, conn)) })
}

// take hands each connection to accept.
func (s *Server) take(ctx context.Context, ln net.Listener, accept func(net.Conn)) error {
	if !s.attend(ln) {
		return ln.Close()
	}
	defer s.leave(ln)
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	var told time.Time
	for pause := time.Duration(0); ; {
		conn, err := ln.Accept()
		switch {
		case err == nil:
			pause = 0
			accept(conn)
		case errors.Is(err, net.ErrClosed):
			return nil
		case !transient(err):
			return err
		default:
			// Out of descriptors or of memory: the old connections live on,
			// and this one waits in the kernel's queue.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			if now := s.deps.Now(); now.Sub(told).Abs() >= time.Minute {
				s.deps.Log.Warn("cannot accept connections for now", "listener", ln.Addr().String(), "error", err)
				told = now
			}
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
		}
	}
}

// transient reports whether Accept may succeed later.
func transient(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Temporary() //nolint:staticcheck // EMFILE, ENFILE, ENOBUFS have no other sign
}

func (s *Server) attend(ln net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		return false
	}
	s.listeners[ln] = struct{}{}
	return true
}

func (s *Server) leave(ln net.Listener) {
	s.mu.Lock()
	delete(s.listeners, ln)
	s.mu.Unlock()
	ln.Close()
}

// accept gives a connection a worker, or, beyond the limits, politely no.
func (s *Server) accept(c *clientConn) {
	s.mu.Lock()
	full := s.open >= s.config.Connections || s.perClient[c.addr] >= s.config.PerClient && !c.balanced()
	if s.draining.Load() {
		s.mu.Unlock()
		c.conn.Close()
		return
	}
	var idle *worker
	if !full {
		s.clients.add(c)
		s.open++
		s.perClient[c.addr]++
		s.keepSweeping()
		idle = s.rested()
	}
	s.busy.Add(1)
	s.mu.Unlock()
	if full {
		s.overLimit(c)
		return
	}
	s.hand(c, idle)
}

// recount counts a connection for the client that a load balancer names, and not
// for the load balancer. It reports whether the client may have one more.
func (s *Server) recount(c *clientConn, client netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.perClient[c.addr]--; s.perClient[c.addr] == 0 {
		delete(s.perClient, c.addr)
	}
	c.addr = client
	s.perClient[client]++
	return s.perClient[client] <= s.config.PerClient
}

func (s *Server) serve(c *clientConn) {
	defer s.gone(c)
	switch {
	case c.redirect != nil:
		c.serveRedirected()
	case c.entrance != nil:
		c.servePublished()
	default:
		c.serve()
	}
	c.letGo()
}

// overLimit refuses a connection with 503. Only so many are told at one time:
// beyond that a flood would cost more to refuse than to serve.
func (s *Server) overLimit(c *clientConn) {
	if c.redirect != nil || c.veiled() { // no words reach it
		defer s.busy.Done()
		c.refuseAtTheDoor(false)
		return
	}
	select {
	case s.refusing <- struct{}{}:
		go func() {
			defer s.busy.Done()
			defer func() { <-s.refusing }()
			c.refuseAtTheDoor(true)
		}()
	default:
		defer s.busy.Done()
		c.refuseAtTheDoor(false)
	}
}

// gone takes a connection off the books when its worker is done with it. A tunnel's is
// open still, and the keeper says when that is over.
func (s *Server) gone(c *clientConn) {
	if c.kept {
		return
	}
	defer s.busy.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients.remove(c)
	s.countOut(c.addr)
}

// handedOver forgets a connection that is no longer for its worker to end.
func (s *Server) handedOver(c *clientConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients.remove(c)
}

// left counts out the connection of a kept tunnel, when nothing is left of it.
func (s *Server) left(addr netip.Addr) {
	defer s.busy.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.countOut(addr)
}

// countOut counts a connection out. Called once for each; s.mu is held.
func (s *Server) countOut(addr netip.Addr) {
	s.open--
	if s.perClient[addr]--; s.perClient[addr] == 0 {
		delete(s.perClient, addr)
	}
}

// Shutdown stops accepting, closes idle connections, lets open passages finish
// until ctx ends and then cuts them. It returns when every connection is gone,
// with ctx's error where some had to be cut.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.draining.Store(true)
	for ln := range s.listeners {
		ln.Close()
	}
	open := slices.Clone(s.clients)
	s.mu.Unlock()
	for _, c := range open {
		c.closeIfIdle()
	}
	gone := make(chan struct{})
	go func() {
		s.busy.Wait()
		close(gone)
	}()
	var err error
	select {
	case <-gone:
	case <-ctx.Done():
		err = ctx.Err()
		s.cutAll()
		<-gone
	}
	s.dismiss()
	s.keeper.Close()
	s.pool.close()
	return err
}

// cutAll ends every passage, and closes the connections that carry none.
func (s *Server) cutAll() {
	s.breakOff(func(p *passage) func() { return p.stop("shutdown") })
	s.mu.Lock()
	open := slices.Clone(s.clients)
	s.mu.Unlock()
	for _, c := range open {
		closeAtOnce(c.conn)
	}
}

// Review asks every open passage of the policy now in force, and ends those that
// it would not permit. Call it after each change of the policy, and once a
// second where rules have a last day.
func (s *Server) Review() {
	now, inForce := s.deps.Now(), s.deps.Policy.Policy()
	s.breakOff(func(p *passage) func() { return p.review(inForce, now) })
}

// breakOff stops the open passages that stop picks, and then breaks them off.
func (s *Server) breakOff(stop func(*passage) (cut func())) {
	var cuts []func()
	for _, p := range s.passages.all() {
		if cut := stop(p); cut != nil {
			cuts = append(cuts, cut)
		}
	}
	for _, cut := range cuts {
		cut()
	}
}
