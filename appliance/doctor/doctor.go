package doctor

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"gatehouse/policy"
)

// Resolver resolves a name for whoever holds a Permit for it, as the gate does:
// one Permit for each judged address.
type Resolver interface {
	Resolve(ctx context.Context, permit policy.Permit) ([]policy.Permit, policy.Verdict, error)
}

// Options says what is to be tried.
type Options struct {
	Pack   string // one pack; empty: all in use, and the file's own rules
	Active bool   // POST too, without content
	// Idle is for how long Survival leaves a connection alone, at most MostIdle;
	// 0: it is not asked for.
	Idle time.Duration
	// NoNames says why no name can be resolved, where that is known: then places
	// with a name are not tried.
	NoNames string
	// Step bounds each step of each target; 0: 8 s.
	Step time.Duration
	// Hold is how long a request is kept open for an answer before its end is
	// sent; 0: 2 s.
	Hold time.Duration
}

// Gate opens connections as the gate does.
type Gate interface {
	// Reach opens a connection to the first of the permitted addresses that
	// answers, through the parent proxies that choice leaves (a verdict's word;
	// "direct": past them all). With plainHTTP a parent is spoken to, else it is
	// asked for a tunnel. The error may be a Fault. Whoever asked closes the Line.
	Reach(ctx context.Context, choice string, plainHTTP bool, permits []policy.Permit) (*Line, error)
	// Blame is what the status of an answer says against a parent that gave it;
	// nil: nothing.
	Blame(parent string, status int) Fault
}

// Fault is what a parent proxy did not do, in sentences.
type Fault interface {
	error
	Why() string
	Fix() string
}

// Line is a connection that leads to a place.
type Line struct {
	net.Conn
	To     policy.Permit // for the address
	Parent string        // the parent proxy that it goes through; empty: none
	// Absolute: the parent itself takes requests, in absolute form, with this
	// value of Proxy-Authorization (empty: without).
	Absolute bool
	Login    string
}

// Deps is what a Doctor needs from its surroundings.
type Deps struct {
	Policy   *policy.Policy
	Resolver Resolver
	Gate     Gate
	Roots    *x509.CertPool   // who may vouch for origins; nil: whom the system trusts
	Now      func() time.Time // nil: time.Now
	// Own says that an address is one of the appliance's own doors; nil: none is.
	Own func(netip.AddrPort) bool
	// Lookup is where a name of the rules leads, whether they permit it or not: to
	// name an address that is refused, never to dial it. Nil: that is not told.
	Lookup func(ctx context.Context, name string) ([]netip.Addr, error)
	// AfterFunc is time.AfterFunc, with the timer's Stop; nil: just that.
	AfterFunc func(time.Duration, func()) (stop func() bool)
}

// Doctor tries what the rules permit. New makes one for one examination.
type Doctor struct {
	Options
	Deps

	mu    sync.Mutex
	tried map[place]func() *Check
	off   time.Duration // of the clock, from that of the host clock
	clock string        // empty: none has told the time
}

// New makes a Doctor.
func New(o Options, d Deps) *Doctor {
	if d.Now == nil {
		d.Now = time.Now
	}
	if o.Step == 0 {
		o.Step = 8 * time.Second
	}
	if o.Hold == 0 {
		o.Hold = 2 * time.Second
	}
	if d.AfterFunc == nil {
		d.AfterFunc = func(wait time.Duration, f func()) func() bool { return time.AfterFunc(wait, f).Stop }
	}
	return &Doctor{Options: o, Deps: d, tried: map[place]func() *Check{}}
}

// atOnce is how many targets are tried side by side.
const atOnce = 8

// ErrNoPack says that a pack is not in use.
var ErrNoPack = errors.New("no rule of this pack is in use")

// Requirements tries what the packs in use ask for, and says of each whether all
// of it works.
func (d *Doctor) Requirements(ctx context.Context) (checks []*Check, ready map[string]bool, err error) {
	packs, err := asked(d.Policy, d.Pack)
	if err != nil {
		return nil, nil, err
	}
	room := mostTargets
	ready = map[string]bool{}
	var g errgroup.Group
	g.SetLimit(atOnce)
	var join []func()
	for _, pack := range packs {
		list := errands(d.Policy, pack, d.Now(), &room)
		if len(list) == 0 {
			continue
		}
		parts := make([]*Check, len(list))
		for i, e := range list {
			tried := make([]*Check, len(e.targets))
			for k, t := range e.targets {
				g.Go(func() error { tried[k] = d.once(ctx, t); return nil })
			}
			join = append(join, func() {
				parts[i] = Heading(e.rule.Name, append(tried, e.left...)...)
			})
		}
		join = append(join, func() {
			c := Heading(nameOf(pack), parts...)
			c.Own = pack == ""
			if pack != "" {
				ready[pack] = d.NoNames == "" && severity[c.State] < severity[Warning]
			}
			checks = append(checks, c)
		})
	}
	g.Wait()
	for _, f := range join {
		f()
	}
	if c := d.clockCheck(); c != nil {
		checks = append(checks, c)
	}
	return checks, ready, nil
}

// asked are the packs that are to be tried: one, or all ("").
func asked(p *policy.Policy, one string) ([]string, error) {
	packs := packsOf(p)
	switch {
	case one == "":
		return packs, nil
	case !slices.Contains(packs, one):
		return nil, fmt.Errorf("%s: %w; in use: %s", one, ErrNoPack, strings.Join(packs[:len(packs)-1], ", "))
	}
	return []string{one}, nil
}

func nameOf(pack string) string {
	if pack == "" {
		return "rules of your own"
	}
	return "pack " + pack
}

// place is what several rules may permit and is tried once.
type place struct {
	dest         policy.Dest
	protocol     policy.Protocol
	client       netip.Addr
	method, path string
}

func (t target) place() place {
	w := way{t: t}
	return place{t.dest, t.protocol, t.client, w.method(), w.path()}
}

// once tries a place, or waits for whoever tries it already.
func (d *Doctor) once(ctx context.Context, t target) *Check {
	k := t.place()
	d.mu.Lock()
	do, ok := d.tried[k]
	if !ok {
		do = sync.OnceValue(func() *Check { return d.try(ctx, t) })
		d.tried[k] = do
	}
	d.mu.Unlock()
	return do()
}

// try goes one target's way as a passage would: rules, name and addresses,
// connection, certificate and, unless it is behind a publication, request.
func (d *Doctor) try(ctx context.Context, t target) *Check {
	if d.NoNames != "" && !t.dest.Host.IsIP() {
		return Skipped(t.dest.String(), d.NoNames)
	}
	w := &way{d: d, t: t}
	w.step(ctx, "rules", w.judge)
	w.step(ctx, "name", w.resolve)
	w.step(ctx, "connection", w.connect)
	if t.protocol == policy.TLS {
		w.step(ctx, "certificate", w.handshake)
	}
	if t.published == nil && w.speaksHTTP() {
		w.step(ctx, "GET", w.get)
		if d.Active {
			w.trial(ctx, "POST", w.post)
			w.trial(ctx, "POST in chunks", w.chunked)
			w.trial(ctx, "100-continue", w.expect)
		}
	}
	w.hangUp()
	c := Heading(t.dest.String(), w.checks...)
	c.Way = true
	return c
}
