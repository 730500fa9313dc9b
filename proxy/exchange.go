package proxy

import (
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"gatehouse/internal/flow"
	"gatehouse/internal/http1"
	"gatehouse/policy"
)

// fate is what becomes of a client's connection after an exchange.
type fate uint8

const (
	drop   fate = iota
	linger      // close, but let the last answer arrive
	again
)

// exchange is one request and what becomes of it: an answer, a tunnel, or a
// refusal. It belongs to the goroutine of its connection, and serves that one's
// next request too; what others may touch is atomic.
type exchange struct {
	server  *Server
	client  *clientConn
	passage *passage

	link    atomic.Pointer[link]      // the connection in use; who takes it out may close it
	far     atomic.Pointer[io.Closer] // the origin's side of an upgrade
	listens atomic.Bool               // somebody is reading from the client
	gone    atomic.Bool               // the client left
	owed    atomic.Int64              // how long the client may keep back the rest of its body
	streams atomic.Bool               // the answer has begun

	matter
}

// matter is what is of one request alone.
type matter struct {
	policy    *policy.Policy // taken once: one passage, one policy
	now       time.Time      // when something was last waited for
	head      *requestHead
	dest      policy.Dest
	user      string              // who logged in
	upgrade   string              // the protocol the client asks to switch to
	tunnel    *tunnel             // what CONNECT opened
	upload    *upload             // the request body, nil where there is none
	published *policy.Publication // where the request came to its door
	answer    download            // the response body

	errand errand // where a parent carries it

	verdict policy.Verdict
	permits []policy.Permit // for the judged addresses; nil: the name was not resolved

	informed bool // a 1xx head was passed on
	begun    bool // the head of the final answer was written
	closes   bool // the client's connection ends with this exchange
	faulty   bool // a panic: ask nobody anything more
	received int64
	heads    int64  // octets of heads to the client, and of a page of the gate's own
	page     string // the form of such a page
	end      string
}

// newExchange begins an exchange in place of the connection's last one.
func (c *clientConn) newExchange() *exchange {
	e, s := &c.exchange, c.server
	e.link.Store(nil)
	e.far.Store(nil)
	e.listens.Store(false)
	e.gone.Store(false)
	e.streams.Store(false)
	e.matter = matter{head: &c.head, policy: s.deps.Policy.Policy(), now: s.deps.Now(), end: "done"}
	surface := policy.HTTP
	switch e.passage = &c.passage; {
	case c.entrance != nil:
		surface = policy.Publish
	case c.redirect != nil:
		surface = policy.Gateway
	case c.head.method == http.MethodConnect && c.tunnel == nil:
		surface = policy.CONNECT
	}
	if surface == policy.CONNECT || surface == policy.Gateway {
		e.passage = &passage{} // may outlive the connection's goroutine
	}
	s.begin(e.passage, surface, c.addr, e.policy, e.now, c.cut)
	return e
}

// cut breaks the exchange off, from whatever goroutine. The client goes first:
// it must see a reset, not the orderly end that follows from the origin's.
func (e *exchange) cut() {
	e.client.reset()
	e.client.stop()
	if l := e.link.Swap(nil); l != nil {
		resetConn(l.conn)
	}
	if far := e.far.Load(); far != nil {
		(*far).Close()
	}
}

// leave gives the exchange up because the client has left, from whatever
// goroutine.
func (e *exchange) leave() {
	e.gone.Store(true)
	e.client.stop()
	if l := e.link.Swap(nil); l != nil {
		if tcp := tcpOf(l.conn); tcp != nil {
			tcp.Close() // at once, also where it is TLS: the sweeper waits for nobody
		}
	}
}

// secure reports whether the origin is asked over TLS: where the request came inside
// TLS that the gate looks into, and where it was published so.
func (e *exchange) secure() bool {
	if e.client.entrance != nil {
		return e.published != nil && e.published.Secure
	}
	return e.client.tunnel != nil && e.client.tunnel.inspection != nil
}

// serve carries the exchange from its head to its end; f is what was wrong with
// the head.
func (e *exchange) serve(f *flaw) (outcome fate) {
	defer func() {
		if !e.client.kept {
			e.finish()
		}
	}()
	defer e.guard()
	if refused := e.admit(f); refused != nil {
		return e.refuse(refused)
	}
	if e.head.method == http.MethodConnect {
		return e.serveConnect()
	}
	e.client.busy.Store(e)
	defer e.client.busy.Store(nil)
	return e.carry()
}

// serveConnect opens a tunnel and carries it.
func (e *exchange) serveConnect() fate {
	// Nobody looks whether the client has left: one that has only said all it has
	// to say may have sent it together with the head, and waits for the answer.
	if refused := e.connect(); refused != nil {
		return e.refuse(refused)
	}
	e.carryTunnel()
	return drop
}

// settle remembers a verdict here and in the registry.
func (e *exchange) settle(v policy.Verdict, permit *policy.Permit) {
	e.verdict = v
	e.passage.settle(v, permit)
}

// permit is the newest.
func (e *exchange) permit() *policy.Permit { return &e.passage.permit }

// settleOn judges the whole passage anew with the address it was led to.
func (e *exchange) settleOn(p *policy.Permit) *refusal {
	v := e.policy.Review(*p, e.now)
	e.settle(v, p)
	e.describeWay(p)
	if !v.Allowed() {
		return refusalFor(v)
	}
	return nil
}

// describeWay writes into the record where the name has led.
func (e *exchange) describeWay(p *policy.Permit) {
	var aliases []string
	for _, alias := range p.Aliases() {
		aliases = append(aliases, alias.String())
	}
	e.passage.note(func(r *flow.Record) { r.IP, r.CNAME = p.Addr(), aliases })
}

// blame finds out whose fault it is that the origin gave no answer.
func (e *exchange) blame(err error) *refusal {
	var malformed http1.Error
	var refused *uploadRefused
	if errors.As(e.upload.trouble(), &refused) {
		return refusalOfBody(refused.verdict)
	}
	if errors.As(e.upload.trouble(), &malformed) {
		return refusalOf(bad("The body of the request is not well-formed."))
	}
	return unanswered(e.verdict, err)
}

// left reports whether the client ended the exchange: it went away, took nothing
// more, or broke off its own upload, which ends the origin's answer too.
func (e *exchange) left() bool {
	var op *net.OpError
	upload := e.upload.trouble()
	return e.gone.Load() || e.client.broken || errors.Is(upload, io.ErrUnexpectedEOF) || errors.As(upload, &op)
}

// breakOff ends an answer that did not come to its end. It looks unfinished to
// the client: without its last chunk or its last bytes or, where only the end of
// the connection ends a body, by a reset.
func (e *exchange) breakOff() fate {
	if e.left() {
		e.end = "client-closed"
	} else {
		e.end = "cut"
		if e.verdict.Allowed() {
			e.verdict.Reason = policy.UpstreamInvalid
			e.settle(e.verdict, e.permit())
		}
	}
	if e.answer.untilClose {
		e.client.reset()
	}
	return drop
}

// say settles a refusal. Trouble that only came because the client had left is
// not held against the origin.
func (e *exchange) say(r *refusal) {
	switch {
	case !r.verdict.Allowed():
		e.end = "refused"
	case e.left():
		e.end, r.verdict = "client-closed", e.verdict
	default:
		e.end = "error"
	}
	e.settle(r.verdict, &policy.Permit{})
	if e.end != "client-closed" {
		e.fault(r.fault, r.why, r.fix)
		if r.parent != nil {
			e.parentFailed(r.parent)
		}
	}
	e.note(r.status)
}

// note writes down that the first byte of an answer is on its way.
func (e *exchange) note(status int) {
	e.begun = true
	if e.tunnel != nil && status == http.StatusOK {
		e.heads = int64(len("HTTP/1.1 200 Connection established\r\n\r\n"))
	}
	e.passage.note(func(r *flow.Record) {
		r.Status, r.Heads = status, e.heads
		if r.FirstByte == 0 {
			r.FirstByte = e.now.Sub(r.Time)
		}
	})
}

// refuse answers in place of an origin that was not asked, or gave no answer.
func (e *exchange) refuse(r *refusal) fate {
	e.upload.stop()
	e.say(r)
	if e.gone.Load() {
		return drop
	}
	// What comes after a flawed head cannot be told apart from it, and a body
	// that nobody took stands in the way of the next request.
	e.closes = e.closes || e.head.closes() || e.server.draining.Load() || r.kind == "http_request_error" ||
		e.head.method == "" || e.head.method == http.MethodConnect || e.head.hasBody()
	c := e.client
	c.out = r.append(c.out[:0], e)
	e.heads += int64(len(c.out))
	switch {
	case c.write(c.out) != nil:
		return drop
	case e.closes:
		return linger
	}
	return again
}

// mayTell reports whether the client may know the rules of the host it asked for.
func (e *exchange) mayTell() bool {
	if door := e.client.entrance; door != nil {
		return !e.faulty && e.policy.MayTellOf(e.client.addr, door.Name)
	}
	return !e.faulty && !e.dest.Host.IsZero() && e.policy.MayTell(e.client.addr, e.dest.Host)
}

// guard ends the exchange, and nothing else, where something in it panicked.
// What was not decided is denied.
func (e *exchange) guard() {
	fault := recover()
	if fault == nil {
		return
	}
	e.server.logPanic("exchange", fault)
	e.faulty = true
	e.client.lend() // to whom, nobody knows any more
	e.client.stop()
	if l := e.link.Swap(nil); l != nil {
		resetConn(l.conn)
	}
	if !e.begun && e.tunnel == nil {
		e.closes = true
		e.refuse(refusalFor(policy.Verdict{}))
		e.client.finish()
	} else {
		e.client.reset()
		e.upload.stop()
	}
	e.end = "error"
}

// finish closes the entry in the book.
func (e *exchange) finish() {
	if v, ok := e.upload.verdict(); ok && e.verdict.Allowed() {
		e.settle(v, e.permit())
	}
	e.heedHeld()
	e.passage.note(func(r *flow.Record) {
		r.Sent += e.upload.sent()
		r.Received += e.received
		r.Heads, r.Page = e.heads, e.page
	})
	e.passage.end(e.end)
}
