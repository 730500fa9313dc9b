package keeper

import (
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// End says what brought a tunnel to its end.
type End uint8

// The ends of a tunnel. Where both sides closed it is the one that did so first.
const (
	ClientClosed End = iota + 1
	OriginClosed
	Idle // nothing moved for the idle limit
	Cut  // Close
)

// String is the end in the words of the book.
func (e End) String() string {
	switch e {
	case ClientClosed:
		return "client-closed"
	case OriginClosed:
		return "origin-closed"
	case Idle:
		return "idle"
	case Cut:
		return "cut"
	}
	return ""
}

// Result is what became of a tunnel.
type Result struct {
	Sent     int64 // octets that the origin's socket has taken
	Received int64 // octets that the client's socket has taken
	End      End
	// Reset: it did not end with both sides having said all. With
	// ClientClosed or OriginClosed: that side's connection failed, or failed
	// after the other had closed; the other was reset too.
	Reset bool
}

// Tunnel is two connections joined. See the package comment for who owns them.
type Tunnel struct {
	keeper         *Keeper
	number         uint64 // set by admit
	dialled        bool   // the origin is a Conn, of which nobody has asked to be kept alive
	seen           bool   // by the sweeper; the keeper's lock guards it
	client, origin side
	up, down       direction
	done           func(Result)
	active         atomic.Int64 // when a byte last moved, by the keeper's clock

	mu    sync.Mutex // guards what follows, and the directions
	busy  int        // goroutines at work for this tunnel alone
	end   End
	reset bool
	over  bool // both connections are closed
	told  bool // done has been called
}

// side is one end of a tunnel: a connection or, where it is bare (see Conn), a
// descriptor and nothing else.
type side struct {
	conn net.Conn
	raw  syscall.RawConn // nil where it is not TCP

	fd     uintptr
	bare   bool
	listed bool // the descriptor stands in the set
}

// direction is what moves one way. Whoever carries it owns moved: the keeper's
// goroutine under the tunnel's lock or, while it is away, the one it was given
// to.
type direction struct {
	tunnel   *Tunnel
	from, to *side
	moved    int64
	away     bool // a goroutine of its own carries it
	over     bool // from has ended, and to has been told
	doomed   bool // from was reset while the direction was away
}

// Join makes a tunnel of two connections. Nothing moves before Open; whoever
// does not call Open must call Close.
func (k *Keeper) Join(client, origin net.Conn, done func(Result)) *Tunnel {
	t := &Tunnel{keeper: k, done: done, client: newSide(client), origin: newSide(origin)}
	t.up = direction{tunnel: t, from: &t.client, to: &t.origin}
	t.down = direction{tunnel: t, from: &t.origin, to: &t.client}
	return t
}

func newSide(conn net.Conn) side {
	s := side{conn: conn}
	if tcp, ok := conn.(*net.TCPConn); ok {
		s.raw, _ = tcp.SyscallConn()
	}
	return s
}

// Open sends what came early to the origin and lets bytes move. It does not
// wait, and keeps nothing of early. Call it once.
func (t *Tunnel) Open(early []byte) {
	t.mu.Lock()
	defer t.unlock()
	switch {
	case t.over: // closed before
		return
	case !t.keeper.admit(t):
		t.breakOff(Cut)
		return
	}
	t.touch(t.keeper.now())
	t.client.conn.SetDeadline(time.Time{})
	if !t.origin.bare {
		t.origin.conn.SetDeadline(time.Time{})
	}
	if !t.keep(early) {
		t.dress()
		t.copy(early)
	}
}

// Close breaks the tunnel off, if it is not over: both sides are reset. It may be
// called from any goroutine, at any time, more than once.
func (t *Tunnel) Close() error {
	t.mu.Lock()
	defer t.unlock()
	t.breakOff(Cut)
	return nil
}

// unlock gives the lock back and, if that was the last of the tunnel, tells so.
func (t *Tunnel) unlock() {
	tell := t.over && t.busy == 0 && !t.told
	t.told = t.told || tell
	t.mu.Unlock()
	if tell {
		t.keeper.forget(t.number)
		t.done(Result{Sent: t.up.moved, Received: t.down.moved, End: t.end, Reset: t.reset})
	}
}

// ended notes that a direction has come to its end: the receiver is told, and
// may still answer. t.mu is held.
func (t *Tunnel) ended(d *direction) {
	if t.over {
		return
	}
	d.over = true
	if t.end == 0 {
		t.end = t.leaving(d.from)
	}
	if t.up.over && t.down.over {
		t.over = true
		t.client.close() // which tells them, too
		t.origin.close()
		return
	}
	d.to.closeWrite()
}

// breakOff ends the tunnel without waiting for anybody. t.mu is held.
func (t *Tunnel) breakOff(why End) {
	if t.over {
		return
	}
	t.over, t.reset = true, true
	if t.end == 0 || why == Idle || why == Cut {
		t.end = why
	}
	t.client.reset()
	t.origin.reset()
}

// leaving is the end that a side brings about.
func (t *Tunnel) leaving(s *side) End {
	if s == &t.client {
		return ClientClosed
	}
	return OriginClosed
}

// closeWrite says to the peer that nothing more will come. Where the connection has
// failed that fails, and its own direction will find it.
func (s *side) closeWrite() {
	if s.bare {
		s.closeWriteBare()
	} else if half, ok := s.conn.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
}

// close closes the connection.
func (s *side) close() {
	if s.bare {
		s.closeBare()
	} else {
		s.conn.Close()
	}
}

// reset closes the connection so that the peer sees it broken, not ended. What is
// wrapped is closed from within, for TLS would say a farewell (and wait for room
// to say it in).
func (s *side) reset() {
	if s.bare {
		s.resetBare()
		return
	}
	conn := s.conn
	if wrapped, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = wrapped.NetConn()
	}
	if tcp, ok := conn.(interface{ SetLinger(int) error }); ok {
		tcp.SetLinger(0)
	}
	conn.Close()
	s.conn.Close()
}

// touch notes that a byte has moved.
func (t *Tunnel) touch(now time.Duration) { t.active.Store(int64(now)) }

func (t *Tunnel) idleAt(now time.Duration) bool {
	return now-time.Duration(t.active.Load()) >= t.keeper.idle
}

// expire ends the tunnel if it is idle still.
func (t *Tunnel) expire(now time.Duration) {
	t.mu.Lock()
	defer t.unlock()
	if t.idleAt(now) {
		t.breakOff(Idle)
	}
}

// keepAlive has the origin asked now and then whether it is there.
func (t *Tunnel) keepAlive() {
	t.mu.Lock()
	defer t.unlock()
	if !t.over {
		t.origin.keepAlive()
	}
}
