package proxy

import (
	"net"
	"sync"
	"sync/atomic"
	"syscall"
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
// then the read ends in os.ErrDeadlineExceeded.
type alarm struct {
	at atomic.Int64 // Unix time in nanoseconds; 0: not set
	mu sync.Mutex   // held while the connection's deadline is changed
}

const rung = -1

func (a *alarm) set(d time.Duration) { a.at.Store(time.Now().Add(d).UnixNano()) }

func (a *alarm) clear(conn net.Conn) {
	if a.at.Swap(0) == rung {
		a.mu.Lock()
		defer a.mu.Unlock()
		conn.SetReadDeadline(time.Time{})
	}
}

// ring is the sweeper's.
func (a *alarm) ring(now int64, conn net.Conn) {
	at := a.at.Load()
	if at <= 0 || now < at {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.at.CompareAndSwap(at, rung) {
		conn.SetReadDeadline(aLongTimeAgo)
	}
}

// mark is since when something has been going on: Unix time in nanoseconds, 0
// where nothing is.
type mark struct{ since atomic.Int64 }

func (m *mark) begin() { m.since.Store(time.Now().UnixNano()) }
func (m *mark) end()   { m.since.Store(0) }

// longerThan reports whether it has been going on for more than d.
func (m *mark) longerThan(d time.Duration, now int64) bool {
	since := m.since.Load()
	return since > 0 && now-since > int64(d)
}

// watch puts a connection under the sweeper's eyes, and sees to it that he comes.
func (s *Server) watch(c *clientConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watched[c] = struct{}{}
	if s.sweeper == nil {
		s.sweeper = time.AfterFunc(sweepEvery, s.sweep)
	}
}

func (s *Server) unwatch(c *clientConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.watched, c)
}

// sweep goes once round. It comes again as long as there is something to watch.
func (s *Server) sweep() {
	kept := 0
	defer func() {
		if fault := recover(); fault != nil {
			s.logPanic("sweeper", fault)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.watched) > 0 || kept > 0 {
			s.sweeper.Reset(sweepEvery)
		} else {
			s.sweeper = nil
		}
	}()
	now := time.Now().UnixNano()
	s.mu.Lock()
	list := make([]*clientConn, 0, len(s.watched))
	for c := range s.watched {
		list = append(list, c)
	}
	s.mu.Unlock()
	for _, c := range list {
		c.sweep(now)
	}
	kept = s.pool.sweep(now, s.config.OriginIdle)
}

func (c *clientConn) sweep(now int64) {
	c.late.ring(now, c.conn)
	stalled := c.server.config.TunnelIdle
	if c.stall.longerThan(stalled, now) {
		c.reset()
	}
	e := c.busy.Load()
	if e == nil {
		return
	}
	if l := e.link.Load(); l != nil && l.stall.longerThan(stalled, now) && e.link.CompareAndSwap(l, nil) {
		resetConn(l.conn)
	}
	if e.listens.Load() || !hungUp(c.conn) {
		return
	}
	e.leave()
}

// hungUp reports whether the peer has closed its side, also where bytes that it
// sent before are still unread.
func hungUp(conn net.Conn) (gone bool) {
	tcp, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return true // closed by ourselves
	}
	raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(p, 0)
		gone = err == nil && n > 0
	})
	return gone
}
