package proxy

import (
	"io"
	"net/http"
	"strings"

	"gatehouse/internal/flow"
	"gatehouse/internal/http1"
	"gatehouse/policy"
)

// pass judges the answer by its head and first bytes and passes it on.
func (e *exchange) pass(l *link) fate {
	a := &l.answer
	if a.Status == http.StatusSwitchingProtocols {
		return e.switchProtocols(l)
	}
	d := &e.answer
	*d = download{client: e.client, link: l, kind: a.Body.Kind, left: a.Body.Length}
	d.chunks.Limits.HeadBytes = e.server.config.HeaderBytes
	if e.errand.stream {
		d.flows = e.errand.parent
	}
	declared := l.declares()
	e.passage.note(func(r *flow.Record) { r.Type = clip(declared.String()) })
	if e.mustJudge(a) {
		if refused := e.judgeBody(declared); refused != nil {
			e.upload.stop()
			e.release(l, false)
			return e.refuse(refused)
		}
	}
	e.note(a.Status)
	if a.Body.Kind != http1.NoBody {
		e.streams.Store(true)
	}
	e.client.out = e.appendAnswer(e.client.out[:0], a)
	e.heads = int64(len(e.client.out))
	return e.complete(l, d.run())
}

// mustJudge: types are judged on successful answers with a body, unless no rule of
// the host speaks of them. Where the request has a body the verdict is taken anew
// all the same, for its parts have been judged meanwhile.
func (e *exchange) mustJudge(a *http1.Response) bool {
	if !e.head.hasBody() && !e.policy.JudgesTypes(e.permit()) {
		return false
	}
	return a.Status/100 == 2 && a.Body.Kind != http1.NoBody && a.Body != http1.Body{Kind: http1.Sized}
}

// judgeBody asks the policy about the declared type and, only where a types
// clause is in force, about what the first bytes show.
func (e *exchange) judgeBody(declared policy.MediaType) *refusal {
	d := &e.answer
	var shows bool
	d.codings, shows = readable(&d.link.answer, &e.head.Fields)
	ask := func(shown policy.Family) policy.Verdict {
		if !shows {
			shown = policy.FamilyUnknown
		}
		return e.passage.narrow(func(newest policy.Permit) (policy.Verdict, policy.Permit) {
			return e.policy.Response(policy.Response{At: e.now, Permit: newest, Type: declared, Family: shown})
		})
	}
	family := policy.FamilyUnknown
	// A body of unknown length is looked at in any case: it may turn out to be
	// none, and then there is no type to judge.
	if e.policy.HoldsHead(e.passage.newest()) && (shows || d.kind != http1.Sized) {
		d.judge = func(shown policy.Family) bool {
			v := ask(shown)
			if !v.Allowed() {
				e.settle(v, e.permit())
			}
			return v.Allowed()
		}
		var empty bool
		family, empty = d.look(e.server.config.Hold)
		if e.now = e.server.deps.Now(); empty {
			return nil
		}
	}
	v := ask(family)
	if !v.Allowed() {
		return refusalFor(v)
	}
	e.settle(v, e.permit())
	return nil
}

// appendAnswer appends the head that goes to the client, and decides how the end
// of the body is told: as the origin told it where the client understands that.
func (e *exchange) appendAnswer(dst []byte, a *http1.Response) []byte {
	d, declare, dropped := &e.answer, a.Declared, e.withheld()
	switch {
	case a.Body.Kind == http1.NoBody:
		if e.head.Minor == 0 && declare.Kind == http1.Chunked {
			declare = http1.Body{}
		}
	case a.Body.Kind == http1.Sized:
	case e.head.Minor == 0:
		declare, d.untilClose, d.pick = http1.Body{}, true, true
		dropped = append([]string{"Trailer"}, dropped...)
	case a.Body.Kind == http1.UntilClose:
		declare, d.wrap = http1.Body{Kind: http1.Chunked}, true
	}
	e.closes = e.closes || d.untilClose || e.head.closes() || e.server.draining.Load()
	at := len(dst)
	dst = http1.AppendResponse(dst, withReason(a), declare, &http1.Changes{
		Via: e.server.pseudonym, Drop: dropped, Close: e.closes, KeepAlive: !e.closes && e.head.Minor == 0,
	})
	return inVersion(dst, at, e.head.minor)
}

// inVersion puts the client's own version into the status line at dst[at:]: some
// old clients take no other, whatever RFC 9112, section 2.3, lets them expect.
func inVersion(dst []byte, at, minor int) []byte {
	dst[at+len("HTTP/1.")] = byte('0' + minor)
	return dst
}

// complete ends the exchange after the answer has been passed on, or has not.
func (e *exchange) complete(l *link, err error) fate {
	sent := e.upload.stop()
	e.received = e.answer.octets
	e.release(l, err == nil && sent && l.answer.Persistent() && !e.bound(l))
	switch {
	case err != nil:
		return e.breakOff()
	case !sent || e.closes:
		return linger
	}
	return again
}

// switchProtocols takes a 101 that was asked for; goproxy carries what follows.
func (e *exchange) switchProtocols(l *link) fate {
	token := strings.Join(listed(values(&l.answer.Fields, "Upgrade")), ", ")
	if e.upgrade == "" || l.answer.Upgrade == nil || token != e.upgrade {
		e.release(l, false)
		return e.refuse(failed(e.verdict, policy.UpstreamInvalid, http.StatusBadGateway, "http_protocol_error"))
	}
	far := io.Closer(l.conn)
	e.far.Store(&far)
	e.listens.Store(true) // goproxy reads, and sees the client leave
	e.streams.Store(true)
	e.client.lend()
	header := headerOf(&l.answer.Fields)
	// Exactly this, for the older of our clients take nothing else.
	header["Connection"], header["Upgrade"] = []string{"Upgrade"}, []string{token}
	header["Via"] = append(header["Via"], "1."+string('0'+l.answer.Minor)+" "+e.server.config.Pseudonym)
	e.handOver(header, &upgraded{e: e, link: l})
	e.client.conn.Close()
	if e.link.CompareAndSwap(l, nil) {
		l.conn.Close() // its buffer may still be read: it is left to the collector
	}
	return drop
}
