package proxy

import (
	"io"
	"net/http"
	"strings"
	"sync"

	"gatehouse/internal/flow"
	"gatehouse/policy"
)

// roundTrip asks the origin and judges its answer. It never fails: what cannot
// be answered is answered by the gate.
func (e *exchange) roundTrip(r *http.Request) *http.Response {
	resp, err := e.server.transport.RoundTrip(r)
	if err != nil {
		return e.say(e.blame(err))
	}
	if refused := e.judgeResponse(resp); refused != nil {
		resp.Body.Close()
		return e.say(refused)
	}
	return resp
}

// judgeResponse judges a response by its head and first bytes, and makes it fit
// to go on.
func (e *exchange) judgeResponse(resp *http.Response) *refusal {
	permit := e.narrowed.Load()
	if permit == nil {
		return refusalFor(policy.Verdict{}) // cannot be: it came over a connection nobody permitted
	}
	if refused := e.settleOn(*permit); refused != nil {
		return refused
	}
	declared := resp.Header["Content-Type"]
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return e.switchProtocols(resp)
	}
	stripHopByHop(resp.Header)
	addVia(resp.Header, resp.ProtoMajor, resp.ProtoMinor, e.server.config.Pseudonym)
	if len(declared) != len(resp.Header["Content-Type"]) {
		declared = nil // Connection named it: it does not go on, so it declares nothing
	}
	e.passage.note(func(r *flow.Record) { r.Type = clip(policy.DeclaredType(declared).String()) })
	if e.mustJudge(resp) {
		if refused := e.judgeBody(resp, policy.DeclaredType(declared)); refused != nil {
			return refused
		}
	}
	resp.Body = &relayedBody{e: e, body: resp.Body}
	return nil
}

// mustJudge: types are judged on successful answers with a body.
func (e *exchange) mustJudge(resp *http.Response) bool {
	return resp.StatusCode/100 == 2 && e.head.method != http.MethodHead &&
		resp.StatusCode != http.StatusNoContent && resp.ContentLength != 0
}

// judgeBody asks the policy about the declared type and, only where a types
// clause is in force, about what the first bytes show.
func (e *exchange) judgeBody(resp *http.Response, declared policy.MediaType) *refusal {
	before, shows := e.permit, readable(resp)
	ask := func(shown policy.Family) (policy.Verdict, policy.Permit) {
		if !shows {
			shown = policy.FamilyUnknown
		}
		return e.policy.Response(policy.Response{At: e.server.deps.Now(), Permit: before, Type: declared, Family: shown})
	}
	family := policy.FamilyUnknown
	// A body of unknown length is looked at in any case: it may turn out to be
	// none, and then there is no type to judge.
	if e.policy.HoldsHead(before) && (shows || resp.ContentLength < 0) {
		held := holdBody(resp.Body, func(shown policy.Family) bool {
			v, _ := ask(shown)
			if !v.Allowed() {
				e.settle(v, before)
			}
			return v.Allowed()
		})
		resp.Body = held
		if family = held.look(e.server.config.Hold); held.empty() {
			return nil
		}
	}
	v, permit := ask(family)
	if !v.Allowed() {
		return refusalFor(v)
	}
	e.settle(v, permit)
	return nil
}

// readable reports whether the first bytes show the family of the whole: not
// those of a compressed body, nor of a part from the middle of a file.
func readable(resp *http.Response) bool {
	for _, coding := range listed(resp.Header["Content-Encoding"]) {
		if coding != "identity" {
			return false
		}
	}
	if resp.StatusCode != http.StatusPartialContent {
		return true
	}
	unit, part, ok := strings.Cut(strings.TrimSpace(resp.Header.Get("Content-Range")), " ")
	return ok && strings.EqualFold(unit, "bytes") && strings.HasPrefix(strings.TrimLeft(part, " "), "0-")
}

// switchProtocols takes a 101 that was asked for.
func (e *exchange) switchProtocols(resp *http.Response) *refusal {
	token := strings.Join(listed(resp.Header["Upgrade"]), ", ")
	origin, ok := resp.Body.(io.ReadWriteCloser)
	if !ok || e.upgrade == "" || token != e.upgrade {
		return failed(e.verdict, policy.UpstreamInvalid, http.StatusBadGateway, "http_protocol_error")
	}
	stripHopByHop(resp.Header)
	delete(resp.Header, "Content-Length")
	// Exactly this, for the older of our clients take nothing else.
	resp.Header["Connection"], resp.Header["Upgrade"] = []string{"Upgrade"}, []string{token}
	addVia(resp.Header, resp.ProtoMajor, resp.ProtoMinor, e.server.config.Pseudonym)
	far := io.Closer(origin)
	e.far.Store(&far)
	e.switched = true
	resp.Body = &switchedBody{relayedBody{e: e, body: origin}, origin}
	return nil
}

// relayedBody counts a response body and remembers how it ended: goproxy's copy
// takes a body that broke off for one that ended.
type relayedBody struct {
	e    *exchange
	body io.ReadCloser
}

func (b *relayedBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	b.e.received.Add(int64(n))
	switch {
	case err == io.EOF:
		b.e.whole = true
	case err != nil && b.e.broken == nil:
		b.e.broken = err
	}
	return n, err
}

// WriteTo implements io.WriterTo, for io.Copy would make a buffer for each
// response.
func (b *relayedBody) WriteTo(w io.Writer) (written int64, err error) {
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	for {
		n, err := b.Read(*buf)
		if n > 0 {
			m, err := w.Write((*buf)[:n])
			if written += int64(m); err != nil {
				return written, err
			}
		}
		if err == io.EOF {
			return written, nil
		}
		if err != nil {
			return written, err
		}
	}
}

var copyBuffers = sync.Pool{New: func() any {
	b := make([]byte, 32<<10)
	return &b
}}

func (b *relayedBody) Close() error { return b.body.Close() }

// switchedBody is the origin's side of an upgraded connection.
type switchedBody struct {
	relayedBody
	origin io.Writer
}

func (b *switchedBody) Write(p []byte) (int, error) {
	n, err := b.origin.Write(p)
	b.e.passage.note(func(r *flow.Record) { r.Sent += int64(n) })
	return n, err
}
