package proxy

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strings"

	"gatehouse/internal/flow"
	"gatehouse/internal/http1"
	"gatehouse/policy"
)

// mostInforms is how many 1xx heads an origin may send before its answer.
const mostInforms = 16

// admit reads where the request wants to go and asks the policy.
func (e *exchange) admit(f *flaw) *refusal {
	if v := e.policy.Client(e.client.addr, e.server.deps.Now()); !v.Allowed() {
		return refusalFor(v) // a stranger learns nothing, not even what it did wrong
	}
	if f != nil {
		return refusalOf(f)
	}
	e.dest, f = e.readTarget()
	e.describe()
	switch {
	case f != nil:
		return refusalOf(f)
	case e.head.method == http.MethodConnect:
		return nil // judged by connect, which goproxy calls
	}
	return e.judge()
}

func (e *exchange) readTarget() (policy.Dest, *flaw) {
	if e.client.tunnel != nil {
		return e.head.readPinnedTarget(e.client.tunnel.dest)
	}
	return e.head.readTarget()
}

// describe writes into the record what was asked for.
func (e *exchange) describe() {
	path, _, _ := strings.Cut(e.head.path, "?")
	e.passage.note(func(r *flow.Record) {
		r.Host, r.Port = e.dest.Host.String(), e.dest.Port
		r.Method, r.Path = clip(e.head.method), clip(path)
		if e.head.hasBody() {
			r.Upload = contentType(&e.head.Fields).String()
		}
	})
}

// clip bounds what comes from the wire.
func clip(s string) string { return s[:min(len(s), 512)] }

// judge asks the policy about a request, and makes its head fit to go on.
func (e *exchange) judge() *refusal {
	h := e.head
	if h.Minor == 1 { // HTTP/1.0 knows no Upgrade (RFC 9110, section 7.8)
		e.upgrade = strings.Join(listed(values(&h.Fields, "Upgrade")), ", ")
	}
	e.onward = headerOf(&h.Fields)
	v, permit := e.policy.Request(policy.Request{
		At: e.server.deps.Now(), Surface: policy.HTTP, Client: e.client.addr, Dest: e.dest,
		Method: h.method, Path: policy.NewPath(h.path),
		Body: h.hasBody(), Upload: contentType(&h.Fields), Upgrade: e.upgrade,
	})
	e.settle(v, permit)
	switch {
	case !v.Allowed():
		return refusalFor(v)
	case h.PassedThrough(e.server.pseudonym):
		return refusalFor(policy.Verdict{Reason: policy.Loop, Rule: v.Rule, Protocol: v.Protocol})
	}
	if e.upgrade == "websocket" && h.Upgrade != nil {
		e.onward["Connection"], e.onward["Upgrade"] = []string{"Upgrade"}, []string{"websocket"}
	} else {
		e.upgrade = "" // a permitted one that cannot be carried: the origin may answer without it
	}
	return nil
}

// prepare makes the request that goes on, and watches the client from the moment
// its request is complete.
func (e *exchange) prepare(ctx context.Context, leave func()) {
	h := e.head
	trailer := http.Header{}
	r := &http.Request{
		Method: h.method, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: e.onward, Host: authority(e.dest), ContentLength: h.Body.Length, Trailer: trailer,
		RequestURI: h.path, RemoteAddr: e.client.conn.RemoteAddr().String(),
		URL: &url.URL{Scheme: "http", Host: authority(e.dest)},
	}
	if h.Body.Kind == http1.Chunked {
		r.ContentLength, r.TransferEncoding = -1, []string{"chunked"}
		for _, name := range listed(e.onward["Trailer"]) {
			if name = textproto.CanonicalMIMEHeaderKey(name); trailerMayCarry(name) {
				trailer[name] = nil // announced: the Transport says so to the origin
			}
		}
	}
	if _, ok := e.onward["User-Agent"]; !ok && e.onward != nil {
		e.onward["User-Agent"] = nil // or the Transport would name itself
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
	e.describeWay(permits[0]) // the one that is tried first; the one that serves may be another
	addVia(e.request.Header, 1, e.head.minor, e.server.config.Pseudonym)
	// The path goes on as it came: an opaque URL is not written anew. Two
	// slashes at its start would make it an authority, so only then the URL's
	// own spelling is used.
	e.request.URL = &url.URL{Scheme: "http", Host: poolKey(e.dest, permits), Opaque: e.head.path}
	if strings.HasPrefix(e.head.path, "//") {
		path, query, has := strings.Cut(e.head.path, "?")
		decoded, err := url.PathUnescape(path)
		if err != nil {
			return refusalOf(bad("The request target is badly percent-encoded."))
		}
		e.request.URL.Opaque, e.request.URL.Path, e.request.URL.RawPath = "", decoded, path
		e.request.URL.RawQuery, e.request.URL.ForceQuery = query, has
	}
	return nil
}
