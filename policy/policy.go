package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/gaissmai/bart"
)

// Mode says what becomes of a passage the rules would refuse.
type Mode uint8

// The modes; the zero value enforces.
const (
	Enforce Mode = iota
	Monitor
)

// String is the mode as a rules file spells it.
func (m Mode) String() string {
	if m == Monitor {
		return "monitor"
	}
	return "enforce"
}

// Group is a named set of clients.
type Group struct {
	Name string
	From []netip.Prefix
	// Logins knows who may log in; nil: nobody of the group has to.
	Logins Logins
}

// Logins knows users and their passwords. It is safe for concurrent use.
type Logins interface {
	// Recall says what Check has lately found of the same login; known is false
	// where it was not asked.
	Recall(user, password string, at time.Time) (ok, known bool)
	// Check looks whether the login is right. It costs much.
	Check(user, password string, at time.Time) bool
}

// Spec is all that Compile needs: a rules file and the settings it depends on,
// in the policy's own terms. Compile keeps parts of it; do not change it later.
type Spec struct {
	Mode Mode
	// MonitorUntil is the first moment at which monitor mode is over and the
	// rules are enforced; zero: it has no end.
	MonitorUntil time.Time
	Groups       []Group
	// Rules are the allows and denies in the order of the file, packs expanded.
	Rules []Rule
	// Publications are the ways in, in the order of the file.
	Publications []Publication
	// Permitted are further permitted clients, besides those that groups, allows
	// and publications name and loopback.
	Permitted []netip.Prefix
	// TreatAsPublic lifts the special-range refusal for these addresses and
	// makes them "public"; it makes none part of a tag that does not list it.
	TreatAsPublic []netip.Prefix
	// Inspection says that the appliance can look inside TLS.
	Inspection bool
	// SHA256 is the hex digest of the rules file, for the book.
	SHA256 string
}

// Policy is a compiled, immutable rule set. It is safe for concurrent use; a nil
// *Policy refuses everything. Decisions allocate nothing and cost a look-up for
// each label of the host, whatever the number of hosts listed.
type Policy struct {
	mode          Mode
	monitorUntil  time.Time
	inspection    bool
	sha256        string
	groups        []compiledGroup
	logins        bool // some group has to log in
	permitted     *bart.Lite
	passing       []passingClients
	treatAsPublic *bart.Lite
	rules         []rule // allows and denies, in order
	hosts         hostIndex
	everywhere    []int32 // denies that name no host
	denies        bool    // some rule is a deny
	forwards      bool    // some allow lets something through the firewall
	binding       int     // how many different globs bind in any rule
	publications  []publication
	published     map[string]int32 // by name
}

// passingClients are permitted only as long as the allow that names them lives.
type passingClients struct {
	rule *Rule
	from *bart.Lite
}

type compiledGroup struct {
	name   string
	from   *bart.Lite
	logins Logins
}

// rule is a Rule with its clauses made ready.
type rule struct {
	*Rule
	clients   *bart.Lite // nil: any permitted client
	addresses addressSet
	inner     bool
	binding   []binding
}

// binding is an entry of an allow's types whose glob binds. Equal globs have
// equal numbers throughout a policy.
type binding struct {
	*TypeEntry
	glob int
}

// bindings picks an allow's binding entries and numbers their globs.
func (r *Rule) bindings(numbers map[Glob]int) []binding {
	if r.Deny {
		return nil
	}
	var out []binding
	for i := range r.Types {
		e := &r.Types[i]
		if !e.Glob.Binds() {
			continue
		}
		n, known := numbers[e.Glob]
		if !known {
			n = len(numbers)
			numbers[e.Glob] = n
		}
		out = append(out, binding{e, n})
	}
	return out
}

// Compile checks a Spec and makes it ready for decisions. The problems it finds
// (joined) are those that would make a rule mean something else than it says;
// package rules tells an admin of them, and of many more, with line and column.
func Compile(s Spec) (*Policy, error) {
	p := &Policy{
		mode: s.Mode, monitorUntil: s.MonitorUntil, inspection: s.Inspection, sha256: s.SHA256,
		permitted: prefixes("127.0.0.0/8", "::1/128"), treatAsPublic: new(bart.Lite),
		hosts: newHostIndex(s.names()),
	}
	insert(p.treatAsPublic, s.TreatAsPublic)
	insert(p.permitted, s.Permitted)
	share := sharedTables()
	for _, g := range s.Groups {
		insert(p.permitted, g.From)
		p.groups = append(p.groups, compiledGroup{g.Name, share(g.From), g.Logins})
		p.logins = p.logins || g.Logins != nil
	}
	var errs []error
	seen, globs := make(map[string]bool, len(s.Rules)), map[Glob]int{}
	p.rules = make([]rule, len(s.Rules))
	for i := range s.Rules {
		r := &s.Rules[i]
		if err := r.check(); err != nil {
			errs = append(errs, fmt.Errorf("rule %q: %w", r.Name, err))
		}
		if seen[r.Name] {
			errs = append(errs, fmt.Errorf("rule %q: the name is used twice", r.Name))
		}
		seen[r.Name] = true
		p.add(i, r, share)
		p.rules[i].binding = r.bindings(globs)
	}
	p.binding = len(globs)
	errs = append(errs, p.publish(s.Publications, share))
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return p, nil
}

// names is the number of entries that list a host by its name.
func (s *Spec) names() int {
	n := 0
	for i := range s.Rules {
		for j := range s.Rules[i].Hosts {
			if s.Rules[i].Hosts[j].kind == patternName {
				n++
			}
		}
	}
	return n
}

// add puts rule i into the tables.
func (p *Policy) add(i int, r *Rule, share func([]netip.Prefix) *bart.Lite) {
	c := rule{Rule: r, addresses: compileAddresses(r.Addresses, share), inner: r.hasInner()}
	if !r.Clients.Any {
		c.clients = share(r.Clients.Prefixes)
		switch {
		case r.Deny: // a deny makes nobody a permitted client
		case r.Until.IsZero():
			insert(p.permitted, r.Clients.Prefixes)
		default:
			p.passing = append(p.passing, passingClients{r, c.clients})
		}
	}
	p.rules[i] = c
	p.denies = p.denies || r.Deny
	p.forwards = p.forwards || !r.Deny && r.Via == ViaForward
	if len(r.Hosts) == 0 {
		p.everywhere = append(p.everywhere, int32(i))
	}
	for _, h := range r.Hosts {
		p.hosts.add(h, int32(i))
	}
}

func insert(t *bart.Lite, list []netip.Prefix) {
	for _, p := range list {
		t.Insert(p.Masked())
	}
}

// sharedTables gives equal prefix lists one table: packs name the same tags in
// many rules, and a thousand rules may name one client group.
func sharedTables() func([]netip.Prefix) *bart.Lite {
	tables := map[string]*bart.Lite{}
	var key []byte
	return func(list []netip.Prefix) *bart.Lite {
		key = key[:0]
		for _, p := range list {
			key = p.AppendTo(key)
			key = append(key, ' ')
		}
		t, ok := tables[string(key)]
		if !ok {
			t = new(bart.Lite)
			insert(t, list)
			tables[string(key)] = t
		}
		return t
	}
}

// Mode is the mode in force at a moment: monitor mode ends on its day.
func (p *Policy) Mode(at time.Time) Mode {
	ends := p != nil && !p.monitorUntil.IsZero()
	if p == nil || p.mode == Enforce || ends && (at.IsZero() || !at.Before(p.monitorUntil)) {
		return Enforce
	}
	return Monitor
}

// Client asks whether a client is permitted to ask anything at all: whether
// loopback, a group, a live allow, a publication or a setting of the appliance
// names it.
func (p *Policy) Client(client netip.Addr, at time.Time) Verdict {
	switch {
	case p == nil:
		return Verdict{}
	case !p.permits(client.Unmap(), at):
		return denied(ClientNotListed, nil)
	}
	return Verdict{Effect: Allow, Reason: Matched}
}

func (p *Policy) permits(client netip.Addr, at time.Time) bool {
	if p.permitted.Contains(client) {
		return true
	}
	for _, c := range p.passing {
		if !c.rule.expired(at) && c.from.Contains(client) {
			return true
		}
	}
	return false
}

// Group is the first group, in the order of the file, that holds the client;
// empty where none does.
func (p *Policy) Group(client netip.Addr) string {
	if p == nil {
		return ""
	}
	for _, g := range p.groups {
		if g.from.Contains(client.Unmap()) {
			return g.name
		}
	}
	return ""
}

// Logins are those of the groups that hold the client. Where there are any, it
// has to log in, and one of them has to know it.
func (p *Policy) Logins(client netip.Addr) (list []Logins) {
	if p == nil || !p.logins {
		return nil
	}
	for _, g := range p.groups {
		if g.logins != nil && g.from.Contains(client.Unmap()) {
			list = append(list, g.logins)
		}
	}
	return list
}

// Inspection reports whether the policy was compiled for an appliance that
// looks inside TLS.
func (p *Policy) Inspection() bool { return p != nil && p.inspection }

// SHA256 is the hex digest of the rules file the policy was made from.
func (p *Policy) SHA256() string {
	if p == nil {
		return ""
	}
	return p.sha256
}

// Rules are the rules in the order of the file. They must not be changed.
func (p *Policy) Rules() []*Rule {
	if p == nil {
		return nil
	}
	all := make([]*Rule, len(p.rules))
	for i := range p.rules {
		all[i] = p.rules[i].Rule
	}
	return all
}

// MayTell reports whether a client may be told the names of the rules of a
// host: only where one of them names this client. A rule for every permitted
// client names no stranger.
func (p *Policy) MayTell(client netip.Addr, host Host) bool {
	if p == nil {
		return false
	}
	client = client.Unmap()
	tell := false
	p.hosts.each(host, func(c candidate) bool {
		r := &p.rules[c.rule]
		tell = r.names(client) && (r.clients != nil || p.knows(client))
		return !tell
	})
	return tell
}

// knows reports whether the client is permitted, or was until its rule ended.
func (p *Policy) knows(client netip.Addr) bool {
	return p.permitted.Contains(client) ||
		slices.ContainsFunc(p.passing, func(c passingClients) bool { return c.from.Contains(client) })
}

// names reports whether the rule speaks for the (unmapped) client.
func (r *rule) names(client netip.Addr) bool {
	return r.clients == nil || r.clients.Contains(client)
}
