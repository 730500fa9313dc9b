package proxy

import (
	"net/http"
	"strings"

	"gatehouse/internal/flow"
	"gatehouse/policy"
)

// admit reads where the request wants to go and asks the policy.
func (e *exchange) admit(f *flaw) *refusal {
	if e.client.entrance != nil {
		return e.admitPublished(f)
	}
	if f == nil {
		e.dest, f = e.readTarget()
	}
	e.describe() // the book tells of a stranger, too, what it asked for
	v := e.policy.Client(e.client.addr, e.now)
	switch {
	case !v.Allowed():
		return refusalFor(v) // a stranger learns nothing, not even what it did wrong
	case f != nil:
		return refusalOf(f)
	}
	if refused := e.logIn(); refused != nil {
		return refused
	}
	if e.head.method == http.MethodConnect {
		return nil // judged by connect
	}
	e.closes = e.secure() && !e.client.tunnel.wanted(e)
	return e.judge()
}

func (e *exchange) readTarget() (policy.Dest, *flaw) {
	if e.client.tunnel != nil {
		return e.head.readPinnedTarget(e.client.tunnel.dest, e.secure())
	}
	return e.head.readTarget()
}

// describe writes into the record what was asked for.
func (e *exchange) describe() {
	path, _, query := strings.Cut(e.head.path, "?")
	e.passage.note(func(r *flow.Record) {
		r.Host, r.Port = e.dest.Host.String(), e.dest.Port
		r.Method, r.Path, r.HadQuery = clip(e.head.method), clip(path), query
		if e.head.hasBody() {
			r.Upload = contentType(&e.head.Fields).String()
		}
	})
}

// clip bounds what comes from the wire.
func clip(s string) string { return s[:min(len(s), 512)] }

// judge asks the policy about a request.
func (e *exchange) judge() *refusal {
	h := e.head
	e.upgrade = h.asksUpgrade()
	q := policy.Request{
		At: e.now, Surface: policy.HTTP, Client: e.client.addr, Dest: e.dest, Secure: e.secure(),
		Method: h.method, Path: policy.NewPath(h.path), Body: h.hasBody(), Upgrade: e.upgrade,
	}
	if q.Body {
		q.Upload = contentType(&h.Fields)
	}
	v, permit := e.policy.Request(q)
	e.settle(v, &permit)
	switch {
	case !v.Allowed():
		return refusalFor(v)
	case e.server.circles(h):
		return refusalFor(policy.Verdict{Reason: policy.Loop, Rule: v.Rule, Protocol: v.Protocol})
	}
	if e.upgrade != "websocket" || h.hasBody() {
		e.upgrade = "" // a permitted one that cannot be carried: the origin may answer without it
	}
	return nil
}

// asksUpgrade is the protocol that the request asks to switch to. An Upgrade field
// that Connection does not name, or that HTTP/1.0 brings, asks for nothing and goes
// no further (RFC 9110, section 7.8).
func (h *requestHead) asksUpgrade() string {
	if h.Upgrade == nil {
		return ""
	}
	return strings.Join(listed(values(&h.Fields, "Upgrade")), ", ")
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
