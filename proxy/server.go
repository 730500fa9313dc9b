package proxy

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/internal/http1"
	"gatehouse/proxy/keeper"
	"gatehouse/proxy/trust"
)

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
