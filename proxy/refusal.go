package proxy

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strconv"
	"syscall"

	"gatehouse/internal/flow"
	"gatehouse/policy"
	"gatehouse/proxy/parent"
	"gatehouse/proxy/trust"
)

// refusal is what the gate says in place of an origin: no, or that the world
// failed after its yes.
type refusal struct {
	verdict policy.Verdict
	status  int
	kind    string // Proxy-Status error type (RFC 9209, section 2.3)
	why     string // a sentence; empty: the reason's own
	// fault is why TLS could not be looked into, where that is the matter, and
	// fix what an administrator can do about it.
	fault flow.Fault
	fix   string
	// parent is what a parent proxy did not do, where that is the matter.
	parent *parent.Fault
}

// refusalFor is the refusal of a verdict that denies.
func refusalFor(v policy.Verdict) *refusal {
	r := &refusal{verdict: v, status: http.StatusForbidden, kind: "http_request_denied"}
	switch v.Reason {
	case policy.AddressNotAllowed:
		r.kind = "destination_ip_prohibited"
	case policy.HostMismatch, policy.BadRequest:
		r.status, r.kind = http.StatusBadRequest, "http_request_error"
	case policy.LoginRequired:
		r.status = http.StatusProxyAuthRequired
	case policy.Limit:
		r.status, r.kind = http.StatusServiceUnavailable, "connection_limit_reached"
	case policy.Loop:
		r.status, r.kind = http.StatusBadGateway, "proxy_loop_detected"
	}
	return r
}

// refusalOf is the refusal of a request that is flawed as such.
func refusalOf(f *flaw) *refusal {
	reason := f.reason
	if reason == policy.NoPolicy {
		reason = policy.BadRequest
	}
	r := refusalFor(policy.Verdict{Reason: reason})
	r.why = f.why
	if f.status != 0 {
		r.status = f.status
	}
	return r
}

// refusalOfBody is the refusal of what is sent. One that is too large would be too
// large the next time as well: so it is no 503, after which it would come again (RFC
// 9110, section 15.5.14).
func refusalOfBody(v policy.Verdict) *refusal {
	r := refusalFor(v)
	if v.Reason == policy.Limit {
		r.status, r.kind = http.StatusRequestEntityTooLarge, "http_request_error"
		r.why = "The request sends more than may be sent at once here."
	}
	return r
}

// failed is the answer where the gate said yes (v) and the world failed: such a
// passage counts as allowed.
func failed(v policy.Verdict, reason policy.Reason, status int, kind string) *refusal {
	v.Reason = reason
	return &refusal{verdict: v, status: status, kind: kind}
}

// unresolved is the answer to a name that could not be resolved.
func unresolved(v policy.Verdict, err error) *refusal {
	if timedOut(err) {
		return failed(v, policy.UpstreamUnresolved, http.StatusGatewayTimeout, "dns_timeout")
	}
	return failed(v, policy.UpstreamUnresolved, http.StatusBadGateway, "dns_error")
}

// unreached is the answer where no connection came about.
func unreached(v policy.Verdict, err error) *refusal {
	var fault *parent.Fault
	switch {
	case errors.Is(err, errOwnListener):
		v.Effect, v.Reason = policy.Deny, policy.AddressNotAllowed
		return refusalFor(v)
	case errors.As(err, &fault):
		return throughParent(v, fault)
	case timedOut(err):
		return failed(v, policy.UpstreamUnreachable, http.StatusGatewayTimeout, "connection_timeout")
	case errors.Is(err, syscall.ECONNREFUSED):
		return failed(v, policy.UpstreamUnreachable, http.StatusBadGateway, "connection_refused")
	}
	return failed(v, policy.UpstreamUnreachable, http.StatusBadGateway, "destination_unavailable")
}

// untrusted is the answer where TLS to the origin did not come about.
func untrusted(v policy.Verdict, f *trust.Fault) *refusal {
	status, kind := http.StatusBadGateway, "tls_protocol_error"
	switch {
	case f.Cause.Certificate():
		kind = "tls_certificate_error"
	case f.Cause == flow.HandshakeTimeout:
		status, kind = http.StatusGatewayTimeout, "connection_timeout"
	case f.Cause == flow.HandshakeRefused, f.Cause == flow.ClientCertificate:
		kind = "tls_alert_received"
	}
	r := failed(v, policy.UpstreamUntrusted, status, kind)
	r.why, r.fault, r.fix = f.Why, f.Cause, f.Fix
	return r
}

// throughParent is the answer where a parent proxy did not do what it was asked.
func throughParent(v policy.Verdict, f *parent.Fault) *refusal {
	status, kind, reason := http.StatusBadGateway, "http_protocol_error", policy.UpstreamInvalid
	switch f.Cause {
	case parent.Unreachable, parent.Destination:
		kind, reason = "destination_unavailable", policy.UpstreamUnreachable
	case parent.Silent:
		status, kind, reason = http.StatusGatewayTimeout, "connection_timeout", policy.UpstreamUnreachable
	}
	r := failed(v, reason, status, kind)
	r.why, r.parent = f.Why(), f
	return r
}

// unanswered is the answer where a connection came about and no usable response.
func unanswered(v policy.Verdict, err error) *refusal {
	var fault *trust.Fault
	if errors.As(err, &fault) {
		return untrusted(v, fault)
	}
	var of *parent.Fault
	if errors.As(err, &of) {
		return throughParent(v, of)
	}
	if timedOut(err) {
		return failed(v, policy.UpstreamInvalid, http.StatusGatewayTimeout, "http_response_timeout")
	}
	return failed(v, policy.UpstreamInvalid, http.StatusBadGateway, "http_protocol_error")
}

func timedOut(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, errDialTimeout) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}

// append appends the whole refusal, head and page, as the client of e gets it.
func (r *refusal) append(dst []byte, e *exchange) []byte {
	id := e.passage.id()
	tell := e.mayTell()
	scratch := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(scratch)
	form, page := preferred(&e.head.Fields), pageFor(scratch[:0:bufferSize/2], r, e.named(), id, tell)
	body := page.append(scratch[bufferSize/2:bufferSize/2], form)
	e.page = form
	dst = append(dst, "HTTP/1."...)
	dst = append(dst, byte('0'+e.head.minor), ' ')
	dst = append(strconv.AppendInt(dst, int64(r.status), 10), ' ')
	dst = append(append(dst, http.StatusText(r.status)...), "\r\nDate: "...)
	dst = e.server.dateline.append(dst, e.now)
	dst = append(append(dst, "\r\nProxy-Status: gatehouse; error="...), r.kind...)
	dst = append(append(dst, "; details=\""...), r.verdict.Reason.String()...)
	dst = append(append(dst, "\"\r\n"+ownField+": "...), id...)
	dst = append(dst, "\r\nCache-Control: no-store\r\n"...)
	if r.status == http.StatusServiceUnavailable {
		dst = append(dst, "Retry-After: 10\r\n"...)
	}
	if r.status == http.StatusProxyAuthRequired {
		dst = append(dst, "Proxy-Authenticate: Basic realm=\"gatehouse\", charset=\"UTF-8\"\r\n"...)
	}
	dst = append(append(dst, "Content-Type: "...), form...)
	if form != formJSON {
		dst = append(dst, "; charset=utf-8"...)
	}
	dst = strconv.AppendInt(append(dst, "\r\nContent-Length: "...), int64(len(body)), 10)
	switch {
	case e.closes:
		dst = append(dst, "\r\nConnection: close"...)
	case e.head.minor == 0:
		dst = append(dst, "\r\nConnection: keep-alive"...)
	}
	dst = append(dst, "\r\n\r\n"...)
	if e.head.method == http.MethodHead {
		return dst
	}
	return append(dst, body...)
}
