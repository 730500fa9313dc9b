package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"gatehouse/policy"
)

// way is the state of one target's examination.
type way struct {
	d       *Doctor
	t       target
	checks  []*Check
	broken  string // the step that failed first
	permit  policy.Permit
	permits []policy.Permit
	choice  string // of a parent proxy
	line    *Line  // opened, and not yet asked on
}

// step tries what the later steps need, unless an earlier one has failed.
func (w *way) step(ctx context.Context, name string, try func(context.Context) *Check) {
	if w.trial(ctx, name, try) == Failed && w.broken == "" {
		w.broken = name
	}
}

// trial tries one step, unless one that it needs has failed.
func (w *way) trial(ctx context.Context, name string, try func(context.Context) *Check) State {
	if w.broken != "" {
		w.checks = append(w.checks, Skipped(name, w.broken+" failed"))
		return NotTried
	}
	ctx, cancel := context.WithTimeout(ctx, w.d.Step)
	defer cancel()
	began := w.d.Now()
	c := try(ctx)
	c.Name = name
	w.checks = append(w.checks, c.took(w.d.Now().Sub(began)))
	return c.State
}

func (w *way) hangUp() {
	if w.line != nil {
		w.line.Close()
	}
}

// judge asks the rules as the passage would.
func (w *way) judge(context.Context) *Check {
	v, permit := w.verdict()
	w.permit, w.choice = permit, v.Parent
	if !v.Allowed() || v.Would {
		return Bad("", fmt.Sprintf("the rules refuse it for %s: %s", w.t.client, v.Reason),
			"gatehouse explain --client "+w.t.client.String()+" "+w.passage())
	}
	return Fine("", "permitted for "+w.t.client.String()+" by "+v.RuleName())
}

func (w *way) verdict() (policy.Verdict, policy.Permit) {
	if p := w.t.published; p != nil {
		return w.d.Policy.Published(policy.Published{At: w.d.Now(), Client: w.t.client, Name: p.Name, Method: w.method(), Path: policy.NewPath(w.path())})
	}
	if w.t.protocol == policy.PlainHTTP {
		return w.d.Policy.Request(policy.Request{
			At: w.d.Now(), Surface: policy.HTTP, Client: w.t.client, Dest: w.t.dest, Method: w.method(), Path: policy.NewPath(w.path()),
		})
	}
	return w.d.Policy.Connect(policy.Connect{At: w.d.Now(), Surface: policy.CONNECT, Client: w.t.client, Dest: w.t.dest})
}

// passage is the target as explain takes it.
func (w *way) passage() string {
	if p := w.t.published; p != nil {
		return "PUBLISH " + p.Name + " " + w.method() + " " + w.path()
	}
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
		return w.misled(ctx, v)
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
	by := ""
	for _, alias := range w.permits[0].Aliases() {
		by += "by way of " + alias.String() + " "
	}
	return Fine("", "leads "+by+"to "+strings.Join(where, ", ")+", within "+w.t.wanted())
}

// misled tells of a name whose addresses the rules refuse.
func (w *way) misled(ctx context.Context, v policy.Verdict) *Check {
	var led []netip.Addr
	if w.d.Lookup != nil {
		led, _ = w.d.Lookup(ctx, w.t.dest.Host.String()) // where it fails, the verdict says enough
	}
	where := ""
	for _, a := range led {
		where += " " + a.String() + ","
	}
	c := Bad("", fmt.Sprintf("%s: the name leads to%s no address that the rule permits (%s)", v.Reason, where, w.t.wanted()),
		"gatehouse azure show tells how old the list of Azure's addresses is; a DNS server that gives wrong answers is told by dig "+w.t.dest.Host.String())
	c.Led = led
	return c
}

// wanted says in words where the target's name may lead.
func (t target) wanted() string {
	if t.published != nil {
		return "private and public addresses"
	}
	a := t.rule.Addresses
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

// connect goes to the judged addresses as the gate would, through a parent proxy
// where it goes through one.
func (w *way) connect(ctx context.Context) *Check {
	l, err := w.d.Gate.Reach(ctx, w.choice, w.t.protocol == policy.PlainHTTP, w.permits)
	var fault Fault
	switch {
	case errors.As(err, &fault):
		return Bad("", clause(fault.Why()), fault.Fix())
	case err != nil:
		return Bad("", "nobody answers: "+err.Error(),
			fmt.Sprintf("let the gate's address out to TCP port %d in the firewall behind it", w.t.dest.Port))
	}
	w.line = l
	switch {
	case l.Absolute:
		return Fine("", fmt.Sprintf("the parent proxy %s answers, and is asked for the page", l.Parent))
	case l.Parent != "":
		return Fine("", fmt.Sprintf("the parent proxy %s has opened a tunnel to %s", l.Parent, addrPort(l.To)))
	}
	return Fine("", addrPort(l.To).String()+" answers")
}

// clause is a sentence as it stands within another.
func clause(sentence string) string {
	return strings.ToLower(sentence[:1]) + strings.TrimSuffix(sentence[1:], ".")
}

func addrPort(p policy.Permit) netip.AddrPort {
	return netip.AddrPortFrom(p.Addr(), p.Dest().Port)
}
