package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strings"
	"sync/atomic"

	"gatehouse/internal/flow"
	"gatehouse/policy"
)

// mostInforms is how many 1xx heads an origin may send before its answer.
const mostInforms = 16

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
	upgrade string // the protocol the client asks to switch to
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

// admit reads where the request wants to go and asks the policy.
func (e *exchange) admit(f *flaw) *refusal {
	if v := e.policy.Client(e.client.addr, e.server.deps.Now()); !v.Allowed() {
		return refusalFor(v) // a stranger learns nothing, not even what it did wrong
	}
	if f != nil {
		return refusalOf(f)
	}
	t, f := e.readTarget()
	e.dest = t.dest
	e.describe(t)
	switch {
	case f != nil:
		return refusalOf(f)
	case e.head.method == http.MethodConnect:
		return nil // judged by connect, which goproxy calls
	}
	return e.judge(t)
}

func (e *exchange) readTarget() (target, *flaw) {
	if e.client.tunnel != nil {
		return e.head.readPinnedTarget(e.client.tunnel.dest)
	}
	return e.head.readTarget()
}

// describe writes into the record what was asked for.
func (e *exchange) describe(t target) {
	path, _, _ := strings.Cut(t.path, "?")
	e.passage.note(func(r *flow.Record) {
		r.Host, r.Port = t.dest.Host.String(), t.dest.Port
		r.Method, r.Path = clip(e.head.method), clip(path)
		if e.head.hasBody() {
			r.Upload = policy.DeclaredType(e.head.header["Content-Type"]).String()
		}
	})
}

// clip bounds what comes from the wire.
func clip(s string) string { return s[:min(len(s), 512)] }

// judge asks the policy about a request, and makes its head fit to go on.
func (e *exchange) judge(t target) *refusal {
	h := e.head
	round := passedBefore(h.header, e.server.config.Pseudonym)
	if h.minor == 1 { // HTTP/1.0 knows no Upgrade (RFC 9110, section 7.8)
		e.upgrade = strings.Join(listed(h.header["Upgrade"]), ", ")
	}
	wantsSwitch := containsToken(h.header["Connection"], "upgrade")
	e.head.target = t.path
	onward := h.header
	stripHopByHop(onward)
	v, permit := e.policy.Request(policy.Request{
		At: e.server.deps.Now(), Surface: policy.HTTP, Client: e.client.addr, Dest: t.dest,
		Method: h.method, Path: policy.NewPath(t.path),
		Body: h.hasBody(), Upload: policy.DeclaredType(onward["Content-Type"]), Upgrade: e.upgrade,
	})
	e.settle(v, permit)
	switch {
	case !v.Allowed():
		return refusalFor(v)
	case round:
		return refusalFor(policy.Verdict{Reason: policy.Loop, Rule: v.Rule, Protocol: v.Protocol})
	}
	if e.upgrade == "websocket" && wantsSwitch {
		onward["Connection"], onward["Upgrade"] = []string{"Upgrade"}, []string{"websocket"}
	} else {
		e.upgrade = "" // a permitted one that cannot be carried: the origin may answer without it
	}
	return nil
}

func containsToken(fields []string, token string) bool {
	for _, member := range listed(fields) {
		if member == token {
			return true
		}
	}
	return false
}

// prepare makes the request that goes on, and watches the client from the moment
// its request is complete.
func (e *exchange) prepare(ctx context.Context, leave func()) {
	h := e.head
	trailer := http.Header{}
	r := &http.Request{
		Method: h.method, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h.header, Host: authority(e.dest), ContentLength: h.length, Trailer: trailer,
		RequestURI: h.target, RemoteAddr: e.client.conn.RemoteAddr().String(),
		URL: &url.URL{Scheme: "http", Host: authority(e.dest)},
	}
	if h.chunked {
		r.ContentLength, r.TransferEncoding = -1, []string{"chunked"}
		for _, name := range listed(h.header["Trailer"]) {
			if name = textproto.CanonicalMIMEHeaderKey(name); isToken(name) && trailerMayCarry(name) {
				trailer[name] = nil // announced: the Transport says so to the origin
			}
		}
	}
	if _, ok := h.header["User-Agent"]; !ok && h.header != nil {
		h.header["User-Agent"] = nil // or the Transport would name itself
	}
	if b := newRequestBody(e.client, h, trailer, func() { e.client.watchClient(leave) }); b != nil {
		e.body, r.Body = b, b
	} else {
		e.client.watchClient(leave)
	}
	e.request = r.WithContext(httptrace.WithClientTrace(ctx, e.trace()))
}

// authority is a destination as Host and Via spell it.
func authority(d policy.Dest) string {
	host := d.Host.String()
	switch {
	case d.Port != 80:
		return d.String()
	case strings.Contains(host, ":"):
		return "[" + host + "]"
	}
	return host
}

// trace learns which connection serves the request, and passes 1xx heads on as
// the origin sends them: 100 too, for whether a body is wanted is the origin's
// to say.
func (e *exchange) trace() *httptrace.ClientTrace {
	informs := 0
	return &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			if p, ok := permitFor(e.permits, info.Conn); ok {
				e.narrowed.Store(&p)
			}
		},
		Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			if informs++; informs > mostInforms {
				return fmt.Errorf("the origin sent more than %d informational responses", mostInforms)
			}
			stripHopByHop(http.Header(header))
			return e.writer.inform(code, http.Header(header))
		},
	}
}

// lead resolves the destination and addresses the request to what was judged.
func (e *exchange) lead(ctx context.Context) *refusal {
	permits, refused := e.server.resolve(ctx, e.verdict, e.permit)
	if refused != nil {
		return refused
	}
	e.permits = permits
	addVia(e.request.Header, 1, e.head.minor, e.server.config.Pseudonym)
	// The path goes on as it came: an opaque URL is not written anew. Two
	// slashes at its start would make it an authority, so only then the URL's
	// own spelling is used.
	e.request.URL = &url.URL{Scheme: "http", Host: poolKey(e.dest, permits), Opaque: e.head.target}
	if strings.HasPrefix(e.head.target, "//") {
		path, query, has := strings.Cut(e.head.target, "?")
		decoded, err := url.PathUnescape(path)
		if err != nil {
			return refusalOf(bad("The request target is badly percent-encoded."))
		}
		e.request.URL.Opaque, e.request.URL.Path, e.request.URL.RawPath = "", decoded, path
		e.request.URL.RawQuery, e.request.URL.ForceQuery = query, has
	}
	return nil
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
	e.passage.note(func(r *flow.Record) {
		r.IP = p.Addr()
		for _, alias := range p.Aliases() {
			r.CNAME = append(r.CNAME, alias.String())
		}
	})
	if !v.Allowed() {
		return refusalFor(v)
	}
	return nil
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
