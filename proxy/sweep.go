package proxy

import (
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// sweepEvery is how often the gate looks for what takes too long, and for
// clients that have left. One timer for all of them: a deadline for each read
// and write would cost more than parsing the request.
const sweepEvery = 500 * time.Millisecond

// aLongTimeAgo as a deadline ends what waits.
var aLongTimeAgo = time.Unix(1, 0)

// alarm bounds a read. The reader sets and clears it; the sweeper rings it, and
// then the read ends in os.ErrDeadlineExceeded. Neither of the two asks the time
// for it: a read has lasted since the sweeper first saw it, so none is given less
// than its due, and some are given a round more.
type alarm struct {
	state atomic.Uint64 // the number of the read, and its bound in milliseconds; 0: not set
	reads uint32        // so far; the reader's
	seen  uint64        // state at the sweeper's last round
	since time.Duration // when he first saw it; his
	mu    sync.Mutex    // held while the connection's deadline is changed
}

// rung stands in place of a bound.
const rung = 1<<32 - 1

func (a *alarm) set(d time.Duration, conn net.Conn) {
	a.reads++
	a.change(uint64(a.reads)<<32|uint64(min(max(d.Milliseconds(), 1), rung-1)), conn)
}

func (a *alarm) clear(conn net.Conn) { a.change(0, conn) }

func (a *alarm) change(state uint64, conn net.Conn) {
	if old := a.state.Swap(state); old&rung == rung {
		a.mu.Lock()
		defer a.mu.Unlock()
		conn.SetReadDeadline(time.Time{})
	}
}

// deaf is how long a read that was rung for may take to end. It ends at once, but
// for a read of TLS, which writes where the peer asks for new keys (RFC 8446, section
// 4.6.3): a peer that takes nothing holds it there, and no read deadline ends that.
const deaf = 5 * time.Second

// ring is the sweeper's. It reports whether the read hears nothing: then the
// connection has to be broken off.
func (a *alarm) ring(now time.Duration, conn net.Conn) (unheard bool) {
	state := a.state.Load()
	bound := state & rung
	switch {
	case state != a.seen:
		a.seen, a.since = state, now
		return false
	case bound == rung:
		return now-a.since >= deaf
	case state == 0 || now-a.since < time.Duration(bound)*time.Millisecond:
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.state.CompareAndSwap(state, state|rung) {
		conn.SetReadDeadline(aLongTimeAgo)
	}
	return false
}

// mark tells whether something has been going on for long: writing, for one. It
// knows no time, as alarm does not.
type mark struct {
	state atomic.Uint64 // the number of what is going on; 0: nothing is
	count uint64        // so far
	seen  uint64        // state at the sweeper's last round
	since time.Duration // when he first saw it; his
}

func (m *mark) begin() {
	m.count++
	m.state.Store(m.count)
}

func (m *mark) end() { m.state.Store(0) }

// longerThan reports whether it has been going on for more than d. It is the
// sweeper's.
func (m *mark) longerThan(d, now time.Duration) bool {
	if state := m.state.Load(); state == 0 || state != m.seen {
		m.seen, m.since = state, now
		return false
	}
	return now-m.since > d
}

// watch puts what is read inside a tunnel under the sweeper's eyes, which are on the
// connections of clients from the beginning.
func (s *Server) watch(inside *clientConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.insides.add(inside)
	s.keepSweeping()
}

// keepSweeping sees to it that the sweeper comes. s.mu is held.
func (s *Server) keepSweeping() {
	if s.sweeper == nil {
		s.sweeper = time.AfterFunc(sweepEvery, s.sweep)
	}
}

func (s *Server) unwatch(inside *clientConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.insides.remove(inside)
}

// sweep goes once round. It comes again as long as there is something to watch.
func (s *Server) sweep() {
	more := false
	defer func() {
		if fault := recover(); fault != nil {
			s.logPanic("sweeper", fault)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.clients)+len(s.insides) > 0 || more {
			s.sweeper.Reset(sweepEvery)
		} else {
			s.sweeper = nil
		}
	}()
	now := time.Since(s.born)
	s.mu.Lock()
	list := slices.Concat(s.clients, s.insides)
	s.mu.Unlock()
	for _, c := range list {
		c.sweep(now)
	}
	more = s.pool.sweep(now, s.config.OriginIdle) > 0
	at := s.deps.Now()
	long, others := s.passages.grown(at)
	for _, p := range long {
		p.tellOpen(at)
	}
	more = more || others
}

func (c *clientConn) sweep(now time.Duration) {
	limit := c.server.config.Stall
	if c.late.ring(now, c.conn) || c.in.stalls.longerThan(limit, now) {
		c.reset()
	}
	e := c.busy.Load()
	if e == nil {
		return
	}
	l := e.link.Load()
	if l != nil && l.in.stalls.longerThan(limit, now) && e.link.CompareAndSwap(l, nil) {
		resetConn(l.conn)
	}
	switch {
	case e.silent(l, now):
		if cut := c.passage.stop("idle"); cut != nil {
			cut()
		}
	case !e.listens.Load() && hungUp(c.conn):
		e.leave()
	}
}

// silent reports whether nobody has said anything for longer than is borne. A
// request that has been sent whole may wait for its answer for ever.
func (e *exchange) silent(l *link, now time.Duration) bool {
	most := e.bears()
	client := e.client.in.waits.longerThan(most, now)
	origin := l != nil && l.in.waits.longerThan(most, now)
	return most > 0 && origin && (client || !e.listens.Load())
}

// bears is how long a silence is borne; 0: for ever.
func (e *exchange) bears() time.Duration {
	switch {
	case e.streams.Load():
		return e.server.config.TunnelIdle
	case e.listens.Load():
		return time.Duration(e.owed.Load())
	}
	return 0
}

// hungUp reports whether the peer has closed its side, also where bytes that it
// sent before are still unread.
func hungUp(conn net.Conn) bool {
	tcp := tcpOf(conn)
	return tcp != nil && isReady(tcp, unix.POLLRDHUP)
}

// isReady reports whether one of the events of poll(2) has come, as it has where the
// gate has closed the connection itself.
func isReady(tcp *net.TCPConn, events int16) (ready bool) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return true
	}
	raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: events}}
		n, err := unix.Poll(p, 0)
		ready = err == nil && n > 0
	})
	return ready
}
