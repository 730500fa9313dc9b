package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"gatehouse/internal/http1"
	"gatehouse/policy"
)

// mostInforms is how many 1xx heads an origin may send before its answer.
const mostInforms = 16

// carry resolves, asks the origin and passes its answer on.
func (e *exchange) carry() fate {
	l, refused := e.ask()
	if refused != nil {
		return e.refuse(refused)
	}
	return e.pass(l)
}

// ask sends the request and reads the head of the final answer. It is sent again
// only where a pooled connection turned out to have ended: if nothing of it had
// been sent, or, once, if it can do no harm to ask twice (RFC 9110, section 9.2.2).
func (e *exchange) ask() (*link, *refusal) {
	for pooled := true; ; {
		l, refused := e.reach(pooled)
		if refused != nil {
			return nil, refused
		}
		err := e.send(l)
		if err == nil {
			err = e.await(l)
		}
		if err == nil {
			if refused := e.heedParent(l); refused != nil {
				return nil, refused
			}
			return l, nil
		}
		refused = e.blame(err)
		retry := l.pooled && !e.left() && (errors.Is(err, errStale) || e.harmless() && len(l.raw) == 0 && !timedOut(err))
		e.upload.stop()
		e.release(l, false)
		if !retry {
			return nil, refused
		}
		pooled = errors.Is(err, errStale)
	}
}

// harmless reports whether the request may be sent twice: it changes nothing, and
// none of it is gone.
func (e *exchange) harmless() bool {
	switch e.head.method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return !e.head.hasBody() && !e.informed
	}
	return false
}

// reach finds a connection for the request: one from the pool whose address is
// still vouched for, the tunnel's own, another from the pool, or a new one.
func (e *exchange) reach(pooled bool) (*link, *refusal) {
	ways := e.ways()
	pooled = pooled && len(ways) > 0 && !e.client.tunnel.hasSpare()
	if pooled {
		if l := e.recall(ways[0]); l != nil {
			return e.use(l)
		}
	}
	permits, refused := e.resolved()
	if refused != nil {
		return nil, refused
	}
	var l *link
	var permit *policy.Permit
	if pooled {
		l, permit = e.server.pool.take(e.place(ways[0]), permits)
	}
	if l == nil {
		if l, permit, refused = e.connection(permits, ways); refused != nil {
			return nil, refused
		}
	}
	if refused := e.settleOn(permit); refused != nil {
		e.release(l, true)
		return nil, refused
	}
	l.aliases, l.vouched = permit.Aliases(), e.now
	return e.use(l)
}

// recall takes a connection from the pool without asking anew where the name
// leads, if that was asked a moment ago. Whether this request may go there the
// policy in force is asked all the same. What only monitor mode lets pass goes the
// long way, on which a better address may be found.
func (e *exchange) recall(w way) *link {
	at := e.place(w)
	l := e.server.pool.recall(at, e.now)
	if l == nil {
		return nil
	}
	v, permit := e.policy.Answer(policy.Answer{At: e.now, Permit: *e.permit(), Aliases: l.aliases, Addr: l.remote.Addr()})
	if !v.Allowed() || v.Would {
		e.server.pool.put(at, l)
		return nil
	}
	e.settle(v, &permit)
	e.describeWay(&permit)
	return l
}

// use takes a connection into the exchange.
func (e *exchange) use(l *link) (*link, *refusal) {
	e.describeParent(l.way)
	e.hand(l.way)
	l.raw = l.raw[:0]
	e.link.Store(l)
	if e.gone.Load() || e.client.stopped() { // it left before there was a connection to close
		e.release(l, false)
		return nil, unreached(e.verdict, context.Canceled)
	}
	return l, nil
}

// resolved are the permits for the addresses of the name. It is asked once.
func (e *exchange) resolved() ([]policy.Permit, *refusal) {
	if e.permits == nil {
		var refused *refusal
		if e.permits, refused = e.server.resolve(e.client.context(), e.verdict, e.permit().Unled()); refused != nil {
			return nil, refused
		}
		e.describeWay(&e.permits[0]) // the one that is tried first; the one that serves may be another
	}
	return e.permits, nil
}

// place is where the request's connections stand in the pool.
func (e *exchange) place(w way) place { return place{e.dest, e.secure(), w} }

func (e *exchange) connection(permits []policy.Permit, ways []way) (*link, *policy.Permit, *refusal) {
	if spare, permit := e.client.tunnel.takeSpare(permits, ways); spare != nil {
		l, refused := e.speak(spare)
		if refused == nil || refused.fault.Certificate() {
			return l, permit, refused
		} // else it has been idle for too long
	}
	fresh, permit, err := e.dial(permits, ways)
	e.now = e.server.deps.Now() // it may have taken a while
	if err != nil {
		return nil, nil, unreached(e.verdict, err)
	}
	l, refused := e.speak(fresh)
	return l, &permit, refused
}

// speak makes a new connection to the origin ready for a request: TLS where the
// request came in TLS. Where it fails the connection is closed.
func (e *exchange) speak(over *line) (*link, *refusal) {
	tcp := over.TCPConn
	if !e.secure() {
		return newLink(tcp, over), nil
	}
	tcp.SetDeadline(time.Now().Add(e.server.config.Dial))
	conn, err := e.server.trust.Handshake(e.client.context(), tcp, e.dest.Host)
	e.now = e.server.deps.Now()
	if err != nil {
		tcp.Close()
		return nil, unanswered(e.verdict, err)
	}
	tcp.SetDeadline(time.Time{})
	return newLink(conn, over), nil
}

// dial contains what goes wrong in what the appliance has told us about its own
// doors: the request has been permitted, so it is trouble and not a refusal.
func (e *exchange) dial(permits []policy.Permit, ways []way) (l *line, permit policy.Permit, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			e.server.logPanic("dial", fault)
			err = errors.New("dialling panicked")
		}
	}()
	return e.server.dialer.reach(e.client.context(), ways, permits, false)
}

// release takes the connection out of the exchange: it goes back to the pool if
// it is fit for another request, else it is closed.
func (e *exchange) release(l *link, fit bool) {
	if mine := e.link.CompareAndSwap(l, nil); mine && fit && l.in.Buffered() == 0 {
		e.server.pool.put(e.place(l.way), l)
		return
	}
	l.close()
}

// send writes a canonical head made of what was parsed, and with it what has come
// of the body; the rest has a goroutine of its own.
func (e *exchange) send(l *link) error {
	c, in := e.client, e.client.in
	c.out = e.appendRequest(c.out[:0], l.way)
	u := newUpload(e)
	e.upload = u
	var n int
	var flawed error
	if u != nil {
		u.link = l
		var pass []byte
		n, pass, flawed = u.take(in.pending())
		c.out = append(c.out, pass...)
	}
	whole := u == nil || u.whole.Load()
	if limit := e.server.config.ResponseHead; limit > 0 {
		l.conn.SetReadDeadline(time.Now().Add(limit))
	}
	if err := l.send(c.out, whole); err != nil {
		if errors.Is(err, errStale) {
			e.upload = nil // as if it had never been tried
		}
		return err
	}
	in.Discard(n)
	switch {
	case flawed != nil:
		u.fail(flawed)
	case !whole:
		u.done = make(chan struct{})
		e.owed.Store(int64(u.bears()))
		e.listens.Store(true)
		go u.run()
	}
	return nil
}

func (e *exchange) appendRequest(dst []byte, w way) []byte {
	h := &e.head.Request
	if e.published == nil || h.Target.Authority.Host == nil {
		h.Target.Authority = http1.Authority{Host: e.head.named.spell(e.dest.Host)}
		if e.dest.Port != usualPort(e.secure()) {
			h.Target.Authority.Port = e.dest.Port
		}
	}
	changes := e.changes(w)
	return http1.AppendRequest(dst, h, w.absolute, &changes)
}

// usualPort is the port that need not be told.
func usualPort(secure bool) uint16 {
	if secure {
		return 443
	}
	return 80
}

var ownFields = []string{ownField}

// await reads heads up to that of the final answer, and passes interim ones on:
// 100 too, for whether a body is wanted is the origin's to say.
func (e *exchange) await(l *link) error {
	limits := http1.Limits{HeadBytes: e.server.config.HeaderBytes}
	for informs := 0; ; {
		raw, err := readHead(&l.in, l.raw, func(b []byte) (int, error) { return l.answer.Parse(b, e.head.method, limits) })
		l.raw = raw
		if err != nil {
			l.answer.Reset()
			return err
		}
		if !l.answer.Interim() {
			break
		}
		if informs++; informs > mostInforms {
			return fmt.Errorf("the origin sent more than %d informational responses", mostInforms)
		}
		e.inform(&l.answer)
	}
	if e.server.config.ResponseHead > 0 {
		l.conn.SetReadDeadline(time.Time{})
	}
	e.now = e.server.deps.Now()
	return nil
}

// inform passes on a 1xx head; HTTP/1.0 does not know them.
func (e *exchange) inform(a *http1.Response) {
	if e.head.Minor == 0 {
		return
	}
	e.informed = true
	c := e.client
	c.out = http1.AppendResponse(c.out[:0], withReason(a), http1.Body{}, &http1.Changes{Drop: ownFields})
	c.flush()
}

// withReason gives a status line the reason phrase that some clients insist on.
func withReason(a *http1.Response) *http1.Response {
	if len(a.Reason) == 0 {
		if a.Reason = []byte(http.StatusText(a.Status)); len(a.Reason) == 0 {
			a.Reason = []byte("Status")
		}
	}
	return a
}
