package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"

	"gatehouse/internal/flow"
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
// refusal. It belongs to the goroutine of its connection; what others may touch
// is atomic.
type exchange struct {
	server  *Server
	client  *clientConn
	policy  *policy.Policy // taken once: one passage, one policy
	head    *requestHead
	dest    policy.Dest
	onward  http.Header // what goes on of the request's head
	upgrade string      // the protocol the client asks to switch to
	passage *passage
	writer  *responseWriter
	request *http.Request
	body    *requestBody
	tunnel  *tunnel // what CONNECT opened

	verdict policy.Verdict
	permit  policy.Permit
	permits []policy.Permit // one per judged address; set before anybody dials

	narrowed  atomic.Pointer[policy.Permit] // of the connection in use
	far       atomic.Pointer[io.Closer]     // the origin's side of a relayed tunnel or an upgrade
	cancelled atomic.Pointer[context.CancelFunc]
	gone      atomic.Bool // the client left
	received  atomic.Int64
	switched  bool  // the connection was upgraded
	broken    error // why the response body ended early
	whole     bool  // the response body came to its end
	faulty    bool  // a panic: ask nobody anything more
	end       string
}

func newExchange(c *clientConn, head *requestHead) *exchange {
	e := &exchange{server: c.server, client: c, head: head, policy: c.server.deps.Policy.Policy(), end: "done"}
	e.writer = &responseWriter{e: e, header: http.Header{}}
	surface := policy.HTTP
	if head.method == http.MethodConnect && c.tunnel == nil {
		surface = policy.CONNECT
	}
	e.passage = c.server.begin(surface, c.addr, e.policy, e.cut)
	return e
}

// cut breaks the exchange off, from whatever goroutine. The client goes first:
// it must see a reset, not the orderly end that follows from the origin's.
func (e *exchange) cut() {
	e.client.reset()
	if cancel := e.cancelled.Load(); cancel != nil {
		(*cancel)()
	}
	if far := e.far.Load(); far != nil {
		(*far).Close()
	}
}

// serve carries the exchange from its head to its end; f is what was wrong with
// the head.
func (e *exchange) serve(f *flaw) (outcome fate) {
	defer e.finish()
	defer e.guard()
	if refused := e.admit(f); refused != nil {
		return e.refuse(refused)
	}
	ctx, cancel := context.WithCancel(context.WithValue(context.Background(), contextKey{}, e))
	defer cancel()
	e.cancelled.Store(&cancel)
	leave := func() { e.gone.Store(true); cancel() }
	e.prepare(ctx, leave)
	if e.head.method != http.MethodConnect {
		if refused := e.lead(ctx); refused != nil {
			return e.refuse(refused)
		}
	}
	e.server.guest.ServeHTTP(e.writer, e.request)
	return e.complete()
}

// settle remembers a verdict here and in the registry.
func (e *exchange) settle(v policy.Verdict, permit policy.Permit) {
	e.verdict, e.permit = v, permit
	e.passage.settle(v, permit)
}

// settleOn judges the whole passage anew with the address it was led to.
func (e *exchange) settleOn(p policy.Permit) *refusal {
	v := e.policy.Review(p, e.server.deps.Now())
	e.settle(v, p)
	e.describeWay(p)
	if !v.Allowed() {
		return refusalFor(v)
	}
	return nil
}

// describeWay writes into the record where the name has led.
func (e *exchange) describeWay(p policy.Permit) {
	var aliases []string
	for _, alias := range p.Aliases() {
		aliases = append(aliases, alias.String())
	}
	e.passage.note(func(r *flow.Record) { r.IP, r.CNAME = p.Addr(), aliases })
}

// blame finds out whose fault a failed exchange is.
func (e *exchange) blame(err error) *refusal {
	var op *net.OpError
	switch {
	case e.body.trouble() != nil && !e.left():
		return refusalOf(bad("The body of the request is not well-formed."))
	case e.narrowed.Load() == nil, errors.As(err, &op) && op.Op == "dial", errors.Is(err, errDialTimeout):
		return unreached(e.verdict, err)
	}
	return unanswered(e.verdict, err)
}

// complete ends the response and says what becomes of the connection.
func (e *exchange) complete() fate {
	switch {
	case e.tunnel != nil, e.switched:
		return drop
	case e.writer.hijacked: // goproxy has written a refusal of CONNECT
		return linger
	case e.broken != nil && !e.left():
		return e.breakOff()
	case !e.whole || !e.writer.finish():
		e.end = "client-closed"
		return e.abandon()
	case !e.body.finish() || e.writer.closes:
		return linger
	}
	return again
}

// left reports whether the client ended the exchange: it went away, took nothing
// more, or broke off its own upload, which ends the origin's answer too.
func (e *exchange) left() bool {
	var op *net.OpError
	upload := e.body.trouble()
	return e.gone.Load() || e.writer.failed() || errors.Is(upload, io.ErrUnexpectedEOF) || errors.As(upload, &op)
}

// breakOff ends an answer that the origin cut short.
func (e *exchange) breakOff() fate {
	e.end = "cut"
	if e.verdict.Allowed() {
		e.verdict.Reason = policy.UpstreamInvalid
		e.settle(e.verdict, e.permit)
	}
	return e.abandon()
}

// abandon lets an unfinished answer look unfinished: without its last chunk or
// its last bytes or, where only the end of the connection ends a body, by a
// reset.
func (e *exchange) abandon() fate {
	e.body.finish()
	if e.writer.framing == byClose {
		e.client.reset()
	}
	return drop
}

// say settles a refusal and gives it the form of a response. Trouble that only
// came because the client had left is not held against the origin.
func (e *exchange) say(r *refusal) *http.Response {
	switch {
	case !r.verdict.Allowed():
		e.end = "refused"
	case e.left():
		e.end, r.verdict = "client-closed", e.verdict
	default:
		e.end = "error"
	}
	e.settle(r.verdict, policy.Permit{})
	e.passage.firstByte()
	e.passage.note(func(f *flow.Record) { f.Status = r.status })
	e.whole = true
	return r.response(e)
}

// refuse answers in place of an origin that was not asked.
func (e *exchange) refuse(r *refusal) fate {
	resp := e.say(r)
	// What comes after a flawed head cannot be told apart from it, and a body
	// that nobody takes stands in the way of the next request.
	e.writer.closes = e.writer.closes || r.kind == "http_request_error" || e.head.method == "" || e.head.hasBody()
	e.writer.header = resp.Header
	e.writer.WriteHeader(resp.StatusCode)
	if e.writer.framing != bodyless {
		io.Copy(e.writer, resp.Body)
	}
	if !e.writer.finish() {
		return drop
	}
	if e.body.finish(); e.writer.closes {
		return linger
	}
	return again
}

// mayTell reports whether the client may know the rules of the host it asked for.
func (e *exchange) mayTell() bool {
	return !e.faulty && e.policy.MayTell(e.client.addr, e.dest.Host)
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
	if cancel := e.cancelled.Load(); cancel != nil {
		(*cancel)()
	}
	if e.writer.status == 0 && !e.writer.hijacked {
		e.writer.closes = true
		e.refuse(refusalFor(policy.Verdict{}))
		e.client.finish()
	} else {
		e.client.reset()
	}
	e.end = "error"
}

// finish closes the entry in the book.
func (e *exchange) finish() {
	e.passage.note(func(r *flow.Record) {
		r.Sent += e.body.sent()
		r.Received += e.received.Load()
	})
	e.passage.end(e.end)
}
