package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"

	"gatehouse/internal/flow"
	"gatehouse/internal/http1"
	"gatehouse/policy"
	"gatehouse/proxy/keeper"
	"gatehouse/proxy/parent"
)

// errNoParent: a rule names a parent proxy that there is none of. The rules are
// checked against the configuration, so it takes a fault to see it.
var errNoParent = errors.New("there is no such parent proxy")

// Parent is a parent proxy that a Server may go through.
type Parent = parent.Config

// ParentFault is what a parent proxy did not do.
type ParentFault = parent.Fault

// way is how a destination is reached. The zero value is directly.
type way struct {
	parent *parent.Proxy // nil: directly
	// absolute: the parent is asked for single requests (RFC 9112, section
	// 3.2.2) and resolves the name itself; else for a tunnel.
	absolute bool
}

// line is a new connection that leads to a destination: to the origin, to the
// parent's end of a tunnel, or to a parent that takes requests for it. It is
// always TCP without anything around it, which the keeper can splice. Whoever holds it
// closes it.
type line struct {
	*net.TCPConn
	bare *keeper.Conn // in place of the TCPConn: for the keeper alone, until dress
	way  way
	to   netip.AddrPort // the judged address
}

// Close closes the connection.
func (l *line) Close() error {
	if l.bare != nil {
		return l.bare.Close()
	}
	return l.TCPConn.Close()
}

// dress makes it a connection that can be read and written here. Where that fails it
// is closed.
func (l *line) dress() (err error) {
	if l.bare != nil {
		l.TCPConn, err = l.bare.TCP()
		l.bare = nil
	}
	return err
}

// permit is the permit for where a connection to this address leads, nil where
// there is none. A parent that is asked for the name finds the address itself:
// there it is enough that the name leads to a judged one at all.
func (w way) permit(permits []policy.Permit, to netip.AddrPort) *policy.Permit {
	if w.parent != nil && (w.absolute || w.parent.ByName()) && len(permits) > 0 {
		return &permits[0]
	}
	return permitFor(permits, to)
}

// directly is the only way where there is no parent.
var directly = []way{{}}

// ways are the ways that a verdict's choice of parent leaves, in the order in
// which they are tried: those that did not answer lately come last. None: the
// choice cannot be followed, and nothing may be dialled.
func (d *dialer) ways(choice string, absolute bool) []way {
	if choice == "direct" || choice == "" && len(d.parents) == 0 {
		return directly
	}
	var well, passed []way
	for _, p := range d.parents {
		switch w := (way{p, absolute}); {
		case choice != "" && choice != p.Name():
		case p.Passed():
			passed = append(passed, w)
		default:
			well = append(well, w)
		}
	}
	return append(well, passed...)
}

// reach opens a connection by the first of the ways that works. A parent that
// does not answer is passed for the next one; one that answers no has spoken. What is
// for the keeper may be bare.
func (d *dialer) reach(ctx context.Context, ways []way, permits []policy.Permit, bare bool) (*line, policy.Permit, error) {
	if len(ways) == 0 {
		return nil, policy.Permit{}, errNoParent
	}
	if ways[0].parent == nil {
		if bare {
			return d.dialBare(ctx, permits)
		}
		return d.dial(ctx, permits)
	}
	permits, err := d.passable(permits)
	if err != nil {
		return nil, policy.Permit{}, err
	}
	limit := time.Now().Add(d.timeout)
	var faults []error
	for i, w := range ways {
		share := time.Until(limit) / time.Duration(len(ways)-i)
		within, cancel := context.WithTimeout(ctx, share)
		l, permit, err := d.through(within, w, permits)
		cancel()
		if err == nil {
			return l, permit, nil
		}
		faults = append(faults, err)
		var fault *parent.Fault
		if ctx.Err() != nil || errors.As(err, &fault) && fault.Answered() {
			return nil, policy.Permit{}, err
		}
	}
	return nil, policy.Permit{}, errors.Join(faults...)
}

// mostAddresses is for how many addresses of one name a parent is asked.
const mostAddresses = 3

// through goes by a parent. It is asked for the judged addresses, one after the
// other, or for the name where it is configured so.
func (d *dialer) through(ctx context.Context, w way, permits []policy.Permit) (l *line, _ policy.Permit, err error) {
	for i := range permits[:min(len(permits), mostAddresses)] {
		p := permits[i]
		conn, failed := w.parent.Dial(ctx)
		if failed != nil {
			return nil, policy.Permit{}, failed
		}
		l = &line{TCPConn: conn, way: w, to: addrPort(p)}
		if w.absolute {
			return l, p, nil
		}
		to := l.to.String()
		if w.parent.ByName() {
			to = authority(p.Dest())
		}
		if failed = w.parent.Tunnel(ctx, conn, to); failed == nil {
			return l, p, nil
		}
		conn.Close()
		if err == nil {
			err = failed
		}
		var fault *parent.Fault
		if w.parent.ByName() || !errors.As(failed, &fault) || fault.Cause != parent.Destination {
			return nil, policy.Permit{}, failed
		}
	}
	return nil, policy.Permit{}, err
}

// ways are how the request may reach its origin. One that switches protocols
// wants a tunnel; another in plain HTTP is the parent's trade.
func (e *exchange) ways() []way {
	return e.server.dialer.ways(e.verdict.Parent, !e.secure() && e.upgrade == "")
}

// ways are how the tunnel may reach its origin. One that is read as HTTP needs no
// tunnel to the parent, but in monitor mode it may turn out to be something else.
func (t *tunnel) ways() []way {
	v := t.e.verdict
	asHTTP := v.Protocol == policy.PlainHTTP && t.e.policy.Mode(t.e.now) == policy.Enforce
	return t.e.server.dialer.ways(v.Parent, asHTTP)
}

// describeParent writes into the record which parent was asked.
func (e *exchange) describeParent(w way) {
	if w.parent != nil {
		e.passage.note(func(r *flow.Record) { r.Parent = w.parent.Name() })
	}
}

// changes are what the gate changes in the head of a request.
func (e *exchange) changes(w way) http1.Changes {
	c := http1.Changes{Via: e.server.pseudonym, Drop: ownFields, Upgrade: e.upgrade != ""}
	if w.absolute && w.parent.Login() != "" {
		if login, err := http1.NewField("Proxy-Authorization", w.parent.Login()); err == nil {
			c.Set = []http1.Field{login}
		}
	}
	e.forwarded(&c)
	return c
}

// heedParent looks whether an answer is the parent's own and says what it cannot
// do. A 407 never goes on: the login is ours, and not the client's. Others may be
// the origin's; they go on, and are named where a parent is likely to be at fault.
func (e *exchange) heedParent(l *link) *refusal {
	if !l.way.absolute {
		return nil
	}
	e.heedAnswer(l)
	switch cause := parent.CauseOf(l.answer.Status); {
	case cause == parent.Login:
		e.upload.stop()
		e.release(l, false)
		return unanswered(e.verdict, l.way.parent.Fault(cause, l.answer.Status, nil))
	case cause == parent.Refused && len(values(&l.answer.Fields, "X-Squid-Error")) > 0,
		cause != "" && cause != parent.Refused && e.head.hasBody():
		e.parentFailed(l.way.parent.Fault(cause, l.answer.Status, nil))
	}
	return nil
}

// parentFailed writes into the book what a parent did not do, and tells the log.
func (e *exchange) parentFailed(f *parent.Fault) {
	detail := f.Why()
	if fix := f.Fix(); fix != "" {
		detail += " To mend it: " + fix + "."
	}
	e.passage.note(func(r *flow.Record) { r.Parent, r.Detail = f.Parent, detail })
	if e.server.complaints.due(complaint{fault: flow.Fault("parent " + f.Parent + " " + string(f.Cause))}, e.server.deps.Now()) {
		e.server.deps.Log.Warn("a parent proxy failed; the next hour's repeats are in the decision log alone",
			"parent", f.Parent, "cause", string(f.Cause), "why", detail, "host", e.dest.Host.String(), "id", e.passage.id())
	}
}

// lookup is how the names of parents are resolved without a resolver of our own.
func lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

func (s *Server) newParents() []*parent.Proxy {
	var all []*parent.Proxy
	for _, c := range slices.Clone(s.config.Parents) {
		all = append(all, parent.New(c, parent.Deps{
			Lookup: s.deps.ParentAddresses, Own: s.deps.Own, Now: s.deps.Now, Told: s.deps.ParentFault, Via: s.config.Pseudonym,
		}))
	}
	return all
}
