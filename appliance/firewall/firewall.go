package firewall

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"gatehouse/policy"
)

// Deps is what a Firewall works with. Load must be set.
type Deps struct {
	// Load hands text to nft, which takes all of it or nothing.
	Load func(ctx context.Context, text string) error
	// Table tells what stands in the kernel, so that it is noticed when somebody else
	// takes the table away or changes it; empty: there is none. Nil: nobody looks.
	Table func(ctx context.Context) (string, error)
	// Cut deletes the flows through this machine that stay does not know, and
	// says how many. Nil: nothing is cut.
	Cut func(stay func(Flow) bool) (int, error)
	Log *slog.Logger     // nil: nothing is said
	Now func() time.Time // nil: time.Now
}

// Flow is a connection, or what passes for one in UDP, through this machine.
type Flow struct {
	Client   netip.Addr
	To       netip.AddrPort
	Protocol policy.Protocol // TCP or UDP
}

// Firewall keeps the table in the kernel as the rules have it. The zero value is
// of no use; make one with New. It is safe for concurrent use.
type Firewall struct {
	deps Deps

	mu      sync.Mutex // held while nft runs: one transaction after the other
	loaded  bool
	policy  *policy.Policy
	plan    Plan // without pins
	text    string
	seen    string // the table in the kernel after it was loaded
	group   map[*policy.Rule]int
	pinned  []policy.Pinhole // addresses that rules list themselves
	answers map[answer]*opened
	kernel  map[Slot][]deadline // what stands in the sets
	full    bool                // it has been said
}

// answer is one address of one name.
type answer struct {
	name policy.Host
	addr netip.Addr
}

// opened is what an answer has opened. It is remembered when its time is over, for
// flows that began in time live on as long as the rules permit them.
type opened struct {
	permit policy.Permit
	until  time.Time // of the pins
	holes  []policy.Pinhole
}

// deadline is a piece that stands in a set until a moment; zero: for ever.
type deadline struct {
	ports policy.PortRange
	until time.Time
}

// New makes a firewall. It touches nothing yet.
func New(d Deps) *Firewall {
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	return &Firewall{deps: d, answers: map[answer]*opened{}, kernel: map[Slot][]deadline{}}
}

const (
	// patience bounds one run of nft, which takes some milliseconds.
	patience = 5 * time.Second
	// mostAnswers bounds what is remembered.
	mostAnswers = 65536
)

// Loaded reports whether the table in the kernel is the one of the rules.
func (f *Firewall) Loaded() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.loaded
}

// Pins is how many runs of ports are open to addresses now.
func (f *Firewall) Pins() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.deps.Now()
	for _, list := range f.kernel {
		for _, d := range list {
			if d.lives(now) {
				n++
			}
		}
	}
	return n
}

// Pinned says until when the firewall lets anybody through to an address; the zero
// time says that it lets nobody through.
func (f *Firewall) Pinned(addr netip.Addr) (until time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.deps.Now()
	for slot, list := range f.kernel {
		for _, d := range list {
			if slot.Addr == addr && d.lives(now) && d.until.After(until) {
				until = d.until
			}
		}
	}
	return until
}

// Renew makes the table that of a policy and a plan (whose Groups and Pins are
// filled in here), if it is not so already: call it after each change of the
// rules, and now and then, for rules end with their day, and others that manage
// firewalls take tables away. What was answered before and is still permitted stays
// open; what is not is closed, and its flows are cut.
func (f *Firewall) Renew(ctx context.Context, plan Plan, p *policy.Policy) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	stood, err := f.look(ctx)
	if err != nil {
		return err
	}
	now := f.deps.Now()
	plan.Groups, f.group = GroupsOf(p, plan.Clients)
	plan.Pins = nil
	text := Ruleset(plan)
	shrunk, grown := f.rejudge(p, now)
	if f.loaded && text == f.text && !shrunk && !grown {
		f.policy = p
		return nil
	}
	clients := append(slices.Clip(f.plan.Clients), plan.Clients...)
	f.policy, f.plan = p, plan
	plan.Pins = f.wanted(now)
	if err := f.replace(ctx, Ruleset(plan)); err != nil {
		f.loaded = false
		return err
	}
	f.loaded, f.text = true, text
	f.kernel = map[Slot][]deadline{}
	for _, pin := range Disjoint(plan.Pins) {
		f.kernel[pin.Slot] = append(f.kernel[pin.Slot], standing(pin, now))
	}
	switch {
	case !stood: // whoever came while nothing stood in the way
		f.cut([]netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)})
	case shrunk:
		f.cut(clients)
	}
	return nil
}

// look reports whether the table stands in the kernel as it was loaded, or as an
// earlier process left it.
func (f *Firewall) look(ctx context.Context) (stood bool, err error) {
	if f.deps.Table == nil {
		return true, nil
	}
	table, err := f.deps.Table(ctx)
	switch {
	case err != nil:
		return false, fmt.Errorf("see whether the firewall stands: %w", err)
	case !f.loaded:
		return table != "", nil
	case table == f.seen:
		return true, nil
	}
	f.loaded = false
	f.deps.Log.Error("somebody else has changed the table "+Table+" or taken it away; it is loaded again, and flows that came meanwhile and are not permitted are cut. What flushes the whole ruleset (systemctl reload nftables does) must include the output of gatehouse nft", "gone", table == "")
	return false, nil
}

// replace loads a whole ruleset, and notes what the kernel made of it.
func (f *Firewall) replace(ctx context.Context, text string) error {
	if err := f.load(ctx, text); err != nil || f.deps.Table == nil {
		return err
	}
	table, err := f.deps.Table(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("see whether the firewall stands: %w", err)
	case table == "":
		return errors.New("the table " + Table + " was loaded and is not there: somebody else takes it away; find out who, or set firewall.manage = false")
	}
	f.seen = table
	return nil
}

func (f *Firewall) load(ctx context.Context, text string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return f.deps.Load(ctx, text)
}

func standing(p Pin, now time.Time) deadline {
	d := deadline{ports: p.Ports}
	if p.For > 0 {
		d.until = now.Add(p.For)
	}
	return d
}

func (d deadline) lives(now time.Time) bool { return d.until.IsZero() || now.Before(d.until) }

// rejudge asks the policy again about all that is open, and says whether any of it
// is not any more, or more than before is.
func (f *Firewall) rejudge(p *policy.Policy, now time.Time) (shrunk, grown bool) {
	compare := func(before, after []policy.Pinhole) {
		shrunk = shrunk || !covers(after, before)
		grown = grown || !covers(before, after)
	}
	pinned := p.PinnedAddresses(now)
	compare(f.pinned, pinned)
	f.pinned = pinned
	for key, o := range f.answers {
		holes := p.Pinholes(o.permit, now)
		compare(o.holes, holes)
		if o.holes = holes; len(holes) == 0 {
			delete(f.answers, key)
		}
	}
	return shrunk, grown
}

// covers reports whether all that is open in b is open in a to the same clients.
func covers(a, b []policy.Pinhole) bool {
	return !slices.ContainsFunc(b, func(h policy.Pinhole) bool {
		return slices.ContainsFunc(h.Ports, func(r policy.PortRange) bool {
			return !slices.ContainsFunc(a, func(g policy.Pinhole) bool {
				return g.Addr == h.Addr && g.Protocol == h.Protocol && clientsOf(g) == clientsOf(h) &&
					slices.ContainsFunc(g.Ports, func(s policy.PortRange) bool { return s.First <= r.First && r.Last <= s.Last })
			})
		})
	})
}

func clientsOf(h policy.Pinhole) string {
	if h.Rule.Clients.Any {
		return "any"
	}
	return wordsOf(h.Rule.Clients.Prefixes)
}

// wanted are the pins that should stand now.
func (f *Firewall) wanted(now time.Time) (pins []Pin) {
	pins = f.pinsOf(f.pinned, 0)
	for _, o := range f.answers {
		if left := o.until.Sub(now); left > 0 {
			pins = append(pins, f.pinsOf(o.holes, left)...)
		}
	}
	return pins
}

func (f *Firewall) pinsOf(holes []policy.Pinhole, d time.Duration) (pins []Pin) {
	for _, h := range holes {
		group, known := f.group[h.Rule]
		if !known {
			continue // a rule of a policy that is not loaded
		}
		for _, r := range h.Ports {
			pins = append(pins, Pin{Slot{group, h.Addr, h.Protocol}, r, d})
		}
	}
	return pins
}

// cut ends the flows of clients that nothing permits any more.
func (f *Firewall) cut(clients []netip.Prefix) {
	if f.deps.Cut == nil {
		return
	}
	holes := map[netip.Addr][]policy.Pinhole{}
	for _, h := range f.pinned {
		holes[h.Addr] = append(holes[h.Addr], h)
	}
	for _, o := range f.answers {
		for _, h := range o.holes {
			holes[h.Addr] = append(holes[h.Addr], h)
		}
	}
	n, err := f.deps.Cut(func(flow Flow) bool {
		return !contains(clients, flow.Client) || flow.To.Port() == 53 && contains(f.plan.Servers, flow.To.Addr()) ||
			slices.ContainsFunc(holes[flow.To.Addr()], func(h policy.Pinhole) bool { return f.lets(h, flow) })
	})
	switch {
	case err != nil:
		f.deps.Log.Error("flows that the rules no longer permit could not be cut; they end when they fall silent", "err", err)
	case n > 0:
		f.deps.Log.Info("flows were cut that the rules no longer permit", "flows", n)
	}
}

// lets reports whether a pinhole is for a flow.
func (f *Firewall) lets(h policy.Pinhole, flow Flow) bool {
	group, known := f.group[h.Rule]
	return known && h.Protocol == flow.Protocol && contains(f.plan.Groups[group].Clients, flow.Client) &&
		slices.ContainsFunc(h.Ports, func(r policy.PortRange) bool { return r.Contains(flow.To.Port()) })
}

func contains(list []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
}

// Static is the whole ruleset of a policy with what stands in it without anybody
// asking for a name: addresses that rules list themselves.
func Static(plan Plan, p *policy.Policy, at time.Time) string {
	f := New(Deps{})
	plan.Groups, f.group = GroupsOf(p, plan.Clients)
	plan.Pins = f.pinsOf(p.PinnedAddresses(at), 0)
	return Ruleset(plan)
}
