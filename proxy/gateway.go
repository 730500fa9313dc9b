package proxy

import (
	"errors"
	"io"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"gatehouse/internal/flow"
	"gatehouse/internal/http1"
	"gatehouse/policy"
)

// Told knows which names a client was answered with an address, the newest first,
// as long as clients may still use it.
type Told interface {
	Names(client, addr netip.Addr, at time.Time) []policy.Host
}

// serveRedirected carries one redirected connection. Whatever is refused is reset:
// the client did not ask a proxy and expects no words of one, and one that waited
// for silence to end would wait long.
func (c *clientConn) serveRedirected() {
	defer c.close()
	defer c.guard()
	defer c.stop()
	c.forgetHead()
	switch err := c.locate(); {
	case errors.Is(err, errTooMany):
		c.refuseAtTheDoor(false)
	case err != nil:
		c.server.deps.Log.Debug("a connection to listen.gateway says not where it was going", "from", c.addr, "err", err)
		c.reset()
	default:
		c.newExchange().serveRedirected()
	}
}

// serveRedirected decides where a redirected connection may go, and carries it.
func (e *exchange) serveRedirected() {
	defer func() {
		if !e.client.kept {
			e.finish()
		}
	}()
	defer e.guard()
	e.begun = true // no page goes to a client that asked no proxy
	t := &tunnel{e: e}
	e.tunnel = t
	defer t.closeOrigin()
	if refused := t.direct(); refused != nil {
		refused.status = 0
		e.say(refused)
		e.client.reset()
	}
}

// guess is a destination that a redirected connection may have had in mind, and
// what the policy says of it.
type guess struct {
	dest    policy.Dest
	verdict policy.Verdict
	permit  policy.Permit
}

// direct finds the name that a connection is for: in its first bytes, where its
// port carries TLS or HTTP, else among the names that the client was answered with
// its address.
func (t *tunnel) direct() *refusal {
	e, to := t.e, t.e.client.redirect.to
	e.dest = policy.Dest{Host: policy.HostOf(to.Addr()), Port: to.Port()}
	e.passage.note(func(r *flow.Record) { r.Host, r.Port, r.IP = e.dest.Host.String(), to.Port(), to.Addr() })
	switch v := e.policy.Client(e.client.addr, e.now); {
	case !v.Allowed():
		return refusalFor(v)
	case len(e.policy.Logins(e.client.addr)) > 0: // nobody asks for a login where no proxy is spoken to
		return refusalFor(policy.Verdict{Reason: policy.LoginRequired})
	case e.server.deps.Own(to):
		return refusalFor(refusedAtTheGate())
	}
	guesses := t.guesses(policy.Opening{})
	g := &guesses[0]
	t.suppose(g)
	switch t.carries(guesses) {
	case policy.TLS:
		return t.directTLS()
	case policy.PlainHTTP:
		return t.directHTTP()
	}
	return t.directTCP(guesses)
}

// suppose takes a guess for what the connection is for. It is no decision yet.
func (t *tunnel) suppose(g *guess) {
	e := t.e
	e.dest, t.dest = g.dest, g.dest
	e.passage.note(func(r *flow.Record) { r.Host = g.dest.Host.String() })
	e.settle(g.verdict, &policy.Permit{})
}

// guesses are the destinations that may be meant: names that the client was told,
// the newest first, and last the address itself. Permitted ones stand first.
func (t *tunnel) guesses(o policy.Opening) []guess {
	to := t.e.client.redirect.to
	hosts := append(slices.Clip(t.told()), policy.HostOf(to.Addr()))
	var good, bad []guess
	for _, h := range hosts {
		g := guess{dest: policy.Dest{Host: h, Port: to.Port()}}
		if t.judge(&g, o); g.verdict.Allowed() && !g.verdict.Would {
			good = append(good, g)
		} else {
			bad = append(bad, g)
		}
	}
	return append(good, bad...)
}

func (t *tunnel) judge(g *guess, o policy.Opening) {
	e := t.e
	g.verdict, g.permit = e.policy.Connect(policy.Connect{
		At: e.now, Surface: policy.Gateway, Client: e.client.addr, Dest: g.dest, Opening: o,
	})
}

// told are the names the client was answered with the address.
func (t *tunnel) told() []policy.Host {
	e := t.e
	if e.server.deps.Told == nil {
		return nil
	}
	return e.server.deps.Told.Names(e.client.addr, e.client.redirect.to.Addr(), e.now)
}

// carries is what the first bytes must be: where permitted guesses differ, the
// protocol under which less gets through. Where none is permitted, the name in the
// first bytes may still be, and the rules say what the port carries for this client.
func (t *tunnel) carries(guesses []guess) (found policy.Protocol) {
	for _, g := range guesses {
		switch p := g.verdict.Protocol; {
		case !g.verdict.Allowed() || g.verdict.Would:
		case p == policy.TLS, found != policy.TLS && p == policy.PlainHTTP, found == policy.ProtocolUnknown:
			found = p
		}
	}
	if found == policy.ProtocolUnknown {
		return t.e.policy.PortProtocol(t.e.client.addr, t.e.client.redirect.to.Port(), t.e.now)
	}
	return found
}

// directTLS goes by the name in the ClientHello.
func (t *tunnel) directTLS() *refusal {
	hello, raw, opening := t.readHello()
	if opening.Protocol == policy.ProtocolUnknown {
		return nil
	}
	if refused := t.lead(t.named(hello.ServerName, opening)); refused != nil {
		return refused
	}
	early := append(raw, t.buffered()...)
	if t.inspection != nil {
		t.takeOver(hello, early)
		return nil
	}
	t.relay(early)
	return nil
}

// named is the guess that the first bytes make of it: the name in them or, where
// there is none, whatever is still permitted.
func (t *tunnel) named(name string, o policy.Opening) *guess {
	t.e.now = t.e.server.deps.Now()
	if host, err := policy.ParseHost(name); err == nil && name != "" && !host.IsIP() {
		g := guess{dest: policy.Dest{Host: host, Port: t.e.client.redirect.to.Port()}}
		t.judge(&g, o)
		return &g
	}
	return &t.guesses(o)[0]
}

// directHTTP goes by the Host of the first request; each request is judged by
// itself, and may name no other host.
func (t *tunnel) directHTTP() *refusal {
	c := t.e.client
	c.conn.SetReadDeadline(time.Now().Add(t.e.server.config.Opening))
	host, err := peekHost(c.in, c.server.config.HeaderBytes)
	like := err == nil
	if !like {
		like, _ = opensLikeHTTP(c.in)
	}
	c.conn.SetReadDeadline(time.Time{})
	opening := policy.Opening{Protocol: policy.PlainHTTP}
	switch {
	case err == io.EOF, errors.Is(err, syscall.ECONNRESET):
		t.e.end = "client-closed"
		return nil
	case err != nil && like:
		return refusalOf(bad("The head of the request cannot be read."))
	case err != nil:
		opening = policy.Opening{Protocol: policy.TCP}
	}
	if refused := t.lead(t.named(host, opening)); refused != nil {
		return refused
	}
	if opening.Protocol != policy.PlainHTTP { // monitor mode lets it pass, and says so
		t.relay(t.buffered())
		return nil
	}
	t.serveInside(c.in)
	t.e.end = "client-closed"
	return nil
}

// peekHost reads the host of the request that comes first, and takes nothing.
func peekHost(in *wire, most int) (string, error) {
	var head http1.Request
	for more := 1; ; more = in.Buffered() + 1 {
		if _, err := in.Peek(more); err != nil {
			return "", err
		}
		n, err := head.Parse(in.pending(), http1.Limits{HeadBytes: most})
		switch {
		case err != nil:
			return "", err
		case n > 0:
			return string(head.Host.Host), nil
		}
	}
}

// directTCP goes by what the client was told: one permitted name is enough.
func (t *tunnel) directTCP(guesses []guess) *refusal {
	var refused *refusal
	for i := range guesses {
		g := &guesses[i]
		if refused != nil && !g.verdict.Allowed() {
			break // what is left is refused too, and says less
		}
		if refused = t.lead(g); refused == nil {
			t.relay(t.buffered())
			return nil
		}
	}
	return refused
}

// lead decides whether the connection may go where the guess says, and reaches it
// at an address that was judged for the name: the one the client wanted, if it is
// among them.
func (t *tunnel) lead(g *guess) *refusal {
	e := t.e
	t.suppose(g)
	e.passage.unseen(g.verdict.Effect != policy.Inspect)
	t.inspection = nil
	switch {
	case !g.verdict.Allowed():
		return refusalFor(g.verdict)
	case g.verdict.Effect == policy.Inspect:
		if refused := t.look(g.verdict); refused != nil {
			return refused
		}
	}
	permits, refused := e.server.resolve(e.client.context(), g.verdict, g.permit)
	if refused != nil {
		return refused
	}
	permits, known := t.preferred(permits)
	if !known && e.policy.Mode(e.now) == policy.Enforce {
		v := refusedAtTheGate()
		v.Rule, v.Protocol = g.verdict.Rule, g.verdict.Protocol
		return refusalFor(v)
	}
	e.describeWay(&permits[0])
	if err := t.reach(permits); err != nil {
		return unreached(g.verdict, err)
	}
	e.now = e.server.deps.Now()
	if refused := e.settleOn(&t.permit); refused != nil {
		t.closeOrigin()
		t.origin = nil
		return refused
	}
	t.protocol = e.verdict.Protocol
	if !known { // monitor mode
		e.verdict.Would, e.verdict.Reason = true, policy.AddressNotAllowed
		e.settle(e.verdict, &t.permit)
	}
	return nil
}

// preferred puts the address that the client wanted first. known is false where it
// was never judged for the name: neither is it among those that the name leads to
// now, nor was the client told it. Names with many addresses rotate through them,
// so one that was told is reached at another.
func (t *tunnel) preferred(permits []policy.Permit) (list []policy.Permit, known bool) {
	wanted := t.e.client.redirect.to.Addr()
	for i := range permits {
		if permits[i].Addr() == wanted {
			list = append(list, permits[i])
			list = append(list, permits[:i]...)
			return append(list, permits[i+1:]...), true
		}
	}
	return permits, slices.Contains(t.told(), t.dest.Host)
}
