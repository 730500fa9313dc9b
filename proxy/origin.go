package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"gatehouse/internal/http1"
	"gatehouse/internal/nowait"
	"gatehouse/policy"
	"gatehouse/proxy/trust"
)

var (
	// errStale: a pooled connection was not good any more; nothing was sent.
	errStale = errors.New("the origin has ended the connection, or spoken unasked")
	// errUnasked: the origin spoke before it was asked.
	errUnasked = errors.New("the origin spoke before it was asked")
)

// link is a connection to an origin. It carries one exchange at a time and
// belongs to that exchange's goroutine.
type link struct {
	conn    net.Conn
	in      wire
	way     way
	remote  netip.AddrPort // the judged address, unmapped
	raw     []byte         // the head at hand, in whose bytes answer points
	answer  http1.Response
	said    []byte           // the Content-Type of the answer before, and what it
	meant   policy.MediaType // means: an origin says the same again and again
	aliases []policy.Host    // that led to it
	vouched time.Time        // when the name was last found to lead there
	pooled  bool             // it has served before
	since   time.Duration    // when the sweeper first saw it idle, 0: he has not; the pool's

	// of the asking at hand; see step
	stepFn func(fd uintptr) bool
	words  []byte
	wait   bool
	steps  int
	wrote  int
	err    error
}

// newLink makes a link of a connection that is, or stands on, a line's.
func newLink(conn net.Conn, from *line) *link {
	l := &link{conn: conn, way: from.way, remote: from.to}
	l.in.attach(conn)
	l.stepFn = l.step
	return l
}

// send writes the beginning of a request, after a look whether the connection is
// still good: the origin must neither have ended it nor have spoken unasked.
// Where wait is set it returns when the first byte of the answer is there.
// Checking, writing and waiting in one go saves a system call.
func (l *link) send(p []byte, wait bool) error {
	if s, ok := l.conn.(*trust.Conn); ok {
		if l.pooled && !s.Quiet() {
			return errStale
		}
		return l.in.write(p)
	}
	l.words, l.wait, l.steps, l.wrote, l.err = p, wait, 0, 0, nil
	if err := l.in.raw.Read(l.stepFn); err != nil && l.err == nil {
		l.err = err
	}
	l.words = nil
	l.in.waits.end()
	if l.err == nil && l.wrote < len(p) {
		l.err = l.in.write(p[l.wrote:])
	}
	return l.err
}

// step is called with the non-blocking descriptor, again when it can be read.
func (l *link) step(fd uintptr) (done bool) {
	if l.steps++; l.steps > 1 {
		return true
	}
	var probe [1]byte
	n, errno := nowait.Read(fd, probe[:])
	switch {
	case errno == syscall.EAGAIN:
	case l.pooled:
		l.err = errStale
		return true
	case errno != 0:
		l.err = l.in.opError("read", errno)
		return true
	case n > 0:
		l.err = errUnasked
		return true
	default:
		l.err = io.EOF
		return true
	}
	if l.wrote, errno = nowait.Write(fd, l.words); errno != 0 && errno != syscall.EAGAIN {
		l.err = l.in.opError("write", errno)
		return true
	}
	if l.wait && l.wrote == len(l.words) {
		l.in.waits.begin()
		return false
	}
	return true
}

// declares is the media type of the answer at hand.
func (l *link) declares() policy.MediaType {
	f := &l.answer.Fields
	said := f.Value(http1.ContentType)
	if f.Count(http1.ContentType) != 1 || f.Has(http1.Connection) || len(said) > mostType {
		return contentType(f)
	}
	if l.said == nil || !bytes.Equal(said, l.said) {
		l.meant = contentType(f)
		l.said = append(l.said[:0], said...)
	}
	return l.meant
}

// mostType is how long a Content-Type is that is remembered.
const mostType = 128

// close gives the connection up, and waits for nobody: the pool is locked meanwhile. No
// other goroutine may still use it.
func (l *link) close() {
	closeAtOnce(l.conn)
	l.in.drop()
}

// pool keeps connections to origins for the next request. It lends one only to a
// request whose own permits, judged just now by the policy in force, hold the very
// address the connection leads to: the name was resolved for this request, or, for
// another one, within the second before it.
type pool struct {
	mu     sync.Mutex
	idle   map[place][]*link // the newest last
	n      int
	closed bool
}

// place is what connections in the pool have in common: never is one with TLS,
// whose other end has been verified, lent in place of one without, nor one
// through a parent proxy in place of another or of a direct one.
type place struct {
	policy.Dest
	secure bool
	way    way
}

// mostIdle and mostIdleOf bound what is kept, in all and for one destination.
const mostIdle, mostIdleOf = 4096, 512

// take returns a connection with the permit for its address, nil where there is
// none.
func (p *pool) take(at place, permits []policy.Permit) (*link, *policy.Permit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.idle[at]
	for i := len(list) - 1; i >= 0; i-- {
		if permit := at.way.permit(permits, list[i].remote); permit != nil {
			l := list[i]
			p.remove(at, i)
			return l, permit
		}
	}
	return nil, nil
}

// vouches is for how long the pool takes a name to lead where it was found to lead.
// Under load that saves the resolver thousands of questions; at any other time a
// question costs nothing that matters.
const vouches = time.Second

// recall returns the connection that was used last, if its name was found to lead
// to it a moment ago; else nil. Its judged address is for the caller to hold
// against the policy.
func (p *pool) recall(at place, now time.Time) *link {
	if at.way.parent != nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.idle[at]
	if len(list) == 0 {
		return nil
	}
	l := list[len(list)-1]
	if age := now.Sub(l.vouched); age < 0 || age >= vouches {
		return nil
	}
	p.remove(at, len(list)-1)
	return l
}

// holds returns the permit for the address of a connection that take would
// return, nil where there is none.
func (p *pool) holds(at place, permits []policy.Permit) *policy.Permit {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.idle[at] {
		if permit := at.way.permit(permits, l.remote); permit != nil {
			return permit
		}
	}
	return nil
}

func (p *pool) remove(at place, i int) {
	list := p.idle[at]
	copy(list[i:], list[i+1:])
	list[len(list)-1] = nil
	if list = list[:len(list)-1]; len(list) == 0 {
		delete(p.idle, at)
	} else {
		p.idle[at] = list
	}
	p.n--
}

// put keeps a connection, or closes it where there are too many.
func (p *pool) put(at place, l *link) {
	l.pooled, l.since = true, 0
	l.in.rest()
	p.mu.Lock()
	full := p.closed || p.n >= mostIdle || len(p.idle[at]) >= mostIdleOf
	if !full {
		p.idle[at] = append(p.idle[at], l)
		p.n++
	}
	p.mu.Unlock()
	if full {
		l.close()
	}
}

// sweep closes what was idle for too long or ended by its origin, and returns how
// many are left.
func (p *pool) sweep(now, most time.Duration) (kept int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for at, list := range p.idle {
		for i := len(list) - 1; i >= 0; i-- {
			l := list[i]
			if l.since == 0 {
				l.since = now
			}
			if now-l.since > most || hungUp(l.conn) {
				p.remove(at, i)
				l.close()
			}
		}
	}
	return p.n
}

// close closes every idle connection; what comes back later is closed too.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, list := range p.idle {
		for _, l := range list {
			l.close()
		}
	}
	clear(p.idle)
	p.n = 0
}

// resolve turns the permit of a judged request into permits for judged
// addresses. The refusal tells of a policy that said no, or of a name that could
// not be resolved.
func (s *Server) resolve(ctx context.Context, v policy.Verdict, permit policy.Permit) ([]policy.Permit, *refusal) {
	permits, judged, err := s.deps.Resolver.Resolve(ctx, permit)
	switch {
	case err != nil:
		return nil, unresolved(v, err)
	case !judged.Allowed():
		return nil, refusalFor(judged)
	case len(permits) == 0:
		return nil, unresolved(v, errNoPermit)
	}
	return permits, nil
}

// permitFor is the permit for the address a connection leads to, nil where there
// is none.
func permitFor(permits []policy.Permit, remote netip.AddrPort) *policy.Permit {
	for i := range permits {
		if p := &permits[i]; p.Addr() == remote.Addr() && p.Dest().Port == remote.Port() {
			return p
		}
	}
	return nil
}

// spareConn is a connection that was dialled before anybody knew which request
// it would carry: the one behind a tunnel that is read as HTTP.
type spareConn struct{ line atomic.Pointer[line] }

// take gives it, with the permit for where it leads, to a request that may go its
// way.
func (s *spareConn) take(permits []policy.Permit, ways []way) (*line, *policy.Permit) {
	l := s.line.Load()
	if l == nil || !slices.Contains(ways, l.way) {
		return nil, nil
	}
	permit := l.way.permit(permits, l.to)
	if permit == nil || !s.line.CompareAndSwap(l, nil) {
		return nil, nil
	}
	return l, permit
}

// close closes the connection if nobody took it.
func (s *spareConn) close() {
	if l := s.line.Swap(nil); l != nil {
		l.Close()
	}
}
