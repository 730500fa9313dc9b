package doctor

import (
	"context"
	"crypto/tls"
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
	// NoNames says why no name can be resolved, where that is known: then places
	// with a name are not tried.
	NoNames string
	// Step bounds each step of each target; 0: 8 s.
	Step time.Duration
}

// Deps is what a Doctor needs from its surroundings.
type Deps struct {
	Policy   *policy.Policy
	Resolver Resolver
	Roots    *x509.CertPool   // who may vouch for origins; nil: whom the system trusts
	Now      func() time.Time // nil: time.Now
	// Own says that an address is one of the appliance's own doors; nil: none is.
	Own func(netip.AddrPort) bool
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
	return &Doctor{Options: o, Deps: d, tried: map[place]func() *Check{}}
}

// atOnce is how many targets are tried side by side.
const atOnce = 8

// ErrNoPack says that a pack is not in use.
var ErrNoPack = errors.New("no rule of this pack is in use")

// Requirements tries what the packs in use ask for, and says of each whether all
// of it works.
func (d *Doctor) Requirements(ctx context.Context) (checks []*Check, ready map[string]bool, err error) {
	packs := packsOf(d.Policy)
	if d.Pack != "" {
		if !slices.Contains(packs, d.Pack) {
			return nil, nil, fmt.Errorf("%s: %w; in use: %s", d.Pack, ErrNoPack, strings.Join(packs[:len(packs)-1], ", "))
		}
		packs = []string{d.Pack}
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

// once tries a place, or waits for whoever tries it already.
func (d *Doctor) once(ctx context.Context, t target) *Check {
	w := way{t: t}
	k := place{t.dest, t.protocol, t.client, w.method(), w.path()}
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
// connection, certificate, request.
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
	if w.speaksHTTP() {
		w.step(ctx, "GET", w.get)
		if d.Active {
			w.step(ctx, "POST", w.post)
			w.step(ctx, "POST in chunks", w.chunked)
		}
	}
	w.hangUp()
	c := Heading(t.dest.String(), w.checks...)
	c.Way = true
	return c
}

// way is the state of one target's examination.
type way struct {
	d       *Doctor
	t       target
	checks  []*Check
	broken  string // the step that failed first
	permit  policy.Permit
	permits []policy.Permit
	to      policy.Permit // the address that answered
	conn    net.Conn
	secure  *tls.Conn
}

// step tries one step, unless an earlier one has failed.
func (w *way) step(ctx context.Context, name string, try func(context.Context) *Check) {
	if w.broken != "" {
		w.checks = append(w.checks, Skipped(name, w.broken+" failed"))
		return
	}
	ctx, cancel := context.WithTimeout(ctx, w.d.Step)
	defer cancel()
	began := w.d.Now()
	c := try(ctx)
	if c == nil {
		return
	}
	c.Name = name
	w.checks = append(w.checks, c.took(w.d.Now().Sub(began)))
	if c.State == Failed {
		w.broken = name
	}
}

func (w *way) hangUp() {
	if w.conn != nil {
		w.conn.Close()
	}
}

// judge asks the rules as the passage would.
func (w *way) judge(context.Context) *Check {
	v, permit := w.ask()
	w.permit = permit
	if !v.Allowed() || v.Would {
		return Bad("", fmt.Sprintf("the rules refuse it for %s: %s", w.t.client, v.Reason),
			"gatehouse explain --client "+w.t.client.String()+" "+w.passage())
	}
	return Fine("", "permitted for "+w.t.client.String()+" by "+v.RuleName())
}

func (w *way) ask() (policy.Verdict, policy.Permit) {
	if w.t.protocol == policy.PlainHTTP {
		return w.d.Policy.Request(policy.Request{
			At: w.d.Now(), Surface: policy.HTTP, Client: w.t.client, Dest: w.t.dest, Method: w.method(), Path: policy.NewPath(w.path()),
		})
	}
	return w.d.Policy.Connect(policy.Connect{At: w.d.Now(), Surface: policy.CONNECT, Client: w.t.client, Dest: w.t.dest})
}

// passage is the target as explain takes it.
func (w *way) passage() string {
	if w.t.protocol == policy.PlainHTTP {
		return w.method() + " http://" + w.t.dest.String() + w.path()
	}
	return "CONNECT " + w.t.dest.String()
}

// resolve asks the gate's own resolver, which judges the addresses.
func (w *way) resolve(ctx context.Context) *Check {
	permits, v, err := w.d.Resolver.Resolve(ctx, w.permit)
	switch {
	case err != nil:
		return Bad("", "no answer from the DNS servers: "+err.Error(), "see that the gate may reach the servers of dns.upstreams on port 53, and that they know the name")
	case !v.Allowed():
		return Bad("", fmt.Sprintf("%s: the name leads to no address that the rule permits (%s)", v.Reason, wanted(w.t.rule.Addresses)),
			"gatehouse azure show tells how old the list of Azure's addresses is; a DNS server that gives wrong answers is told by dig "+w.t.dest.Host.String())
	case len(permits) == 0:
		return Bad("", "the name has no address", "ask the DNS servers of dns.upstreams for it: dig "+w.t.dest.Host.String())
	}
	for _, p := range permits {
		if w.d.Own == nil || !w.d.Own(addrPort(p)) {
			w.permits = append(w.permits, p)
		}
	}
	if len(w.permits) == 0 {
		return Bad("", "the name leads to the gate itself", "repair the name in your DNS")
	}
	var where []string
	for _, p := range w.permits {
		where = append(where, p.Addr().String())
	}
	return Fine("", "leads to "+strings.Join(where, ", ")+", within "+wanted(w.t.rule.Addresses))
}

// wanted says in words where a rule's names may lead.
func wanted(a policy.Addresses) string {
	var words []string
	if a.Default || a.Public {
		words = append(words, "public addresses")
	}
	for _, t := range a.Tags {
		words = append(words, t.Name)
	}
	if len(a.Prefixes) > 0 {
		words = append(words, "the listed networks")
	}
	return strings.Join(words, ", ")
}

// connect dials the judged addresses in their order.
func (w *way) connect(ctx context.Context) *Check {
	var errs []error
	for _, p := range w.permits {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", addrPort(p).String())
		if err == nil {
			w.conn, w.to = conn, p
			return Fine("", addrPort(p).String()+" answers")
		}
		errs = append(errs, err)
	}
	return Bad("", "nobody answers: "+errors.Join(errs...).Error(),
		fmt.Sprintf("let the gate's address out to TCP port %d in the firewall behind it", w.t.dest.Port))
}

func addrPort(p policy.Permit) netip.AddrPort {
	return netip.AddrPortFrom(p.Addr(), p.Dest().Port)
}
