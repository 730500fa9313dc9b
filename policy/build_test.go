package policy_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/policy"
)

// now is the moment at which tests ask; nothing in the package knows a clock.
var now = time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)

var (
	server  = netip.MustParseAddr("10.20.0.5")
	device  = netip.MustParseAddr("10.30.1.2")
	visitor = netip.MustParseAddr("192.0.2.77") // permitted nowhere
	public  = netip.MustParseAddr("20.50.72.1")
)

// allow is an allow with the defaults of the language: every permitted client,
// port 443, public addresses. deny restricts nothing but its hosts.
func allow(name string, hosts ...string) policy.Rule {
	return policy.Rule{
		Name: name, Hosts: listed(hosts...), Ports: ports(443),
		Clients:   policy.Clients{Any: true},
		Addresses: policy.Addresses{Default: true},
	}
}

func deny(name string, hosts ...string) policy.Rule {
	return policy.Rule{Name: name, Deny: true, Hosts: listed(hosts...), Clients: policy.Clients{Any: true}}
}

// with changes a rule and hands it on, so that a rule reads as one sentence.
func with(r policy.Rule, changes ...func(*policy.Rule)) policy.Rule {
	for _, change := range changes {
		change(&r)
	}
	return r
}

func on(list ...uint16) func(*policy.Rule) {
	return func(r *policy.Rule) { r.Ports = ports(list...) }
}

func speaking(p policy.Protocol) func(*policy.Rule) {
	return func(r *policy.Rule) { r.Protocol = p }
}

func from(list ...string) func(*policy.Rule) {
	return func(r *policy.Rule) { r.Clients = policy.Clients{Prefixes: networks(list...)} }
}

func methods(list ...string) func(*policy.Rule) {
	return func(r *policy.Rule) { r.Methods = list }
}

func paths(list ...string) func(*policy.Rule) {
	return func(r *policy.Rule) {
		for _, s := range list {
			r.Paths = append(r.Paths, glob(s))
		}
	}
}

// types adds one line of a table; the glob "*" is a plain list, no type "any".
func types(g string, list ...string) func(*policy.Rule) {
	return func(r *policy.Rule) {
		e := policy.TypeEntry{Glob: glob(g), Any: len(list) == 0}
		for _, s := range list {
			e.Types = append(e.Types, media(s))
		}
		r.Types = append(r.Types, e)
	}
}

func uploads(list ...string) func(*policy.Rule) {
	return func(r *policy.Rule) {
		for _, s := range list {
			r.Uploads = append(r.Uploads, media(s))
		}
	}
}

func upgrades(list ...string) func(*policy.Rule) {
	return func(r *policy.Rule) { r.Upgrades = append([]string{}, list...) }
}

func addresses(a policy.Addresses) func(*policy.Rule) {
	return func(r *policy.Rule) { r.Addresses = a }
}

func leading(list ...string) func(*policy.Rule) {
	return addresses(policy.Addresses{Prefixes: networks(list...)})
}

func tagged(name string, list ...string) func(*policy.Rule) {
	return addresses(policy.Addresses{Tags: []policy.Tag{{Name: name, Prefixes: networks(list...)}}})
}

func through(list ...string) func(*policy.Rule) {
	return func(r *policy.Rule) {
		r.Aliases = []policy.HostPattern{}
		for _, s := range list {
			r.Aliases = append(r.Aliases, pattern(s))
		}
	}
}

func until(at time.Time) func(*policy.Rule) {
	return func(r *policy.Rule) { r.Until = at }
}

func inspect(m policy.InspectMode) func(*policy.Rule) {
	return func(r *policy.Rule) { r.Inspect = m }
}

func ports(list ...uint16) []policy.PortRange {
	var out []policy.PortRange
	for _, p := range list {
		out = append(out, policy.PortRange{First: p, Last: p})
	}
	return out
}

func networks(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		if a, err := netip.ParseAddr(s); err == nil {
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
			continue
		}
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func listed(hosts ...string) []policy.ListedHost {
	var out []policy.ListedHost
	for _, s := range hosts {
		out = append(out, policy.ListedHost{HostPattern: pattern(s)})
	}
	return out
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func pattern(s string) policy.HostPattern { return must(policy.ParseHostPattern(s)) }
func glob(s string) policy.Glob           { return must(policy.ParseGlob(s)) }
func media(s string) policy.MediaType     { return must(policy.ParseMediaType(s)) }
func host(s string) policy.Host           { return must(policy.ParseHost(s)) }

func dest(s string, port uint16) policy.Dest { return policy.Dest{Host: host(s), Port: port} }

// compile makes a policy of rules alone; the school's two networks are
// permitted clients.
func compile(t testing.TB, rules ...policy.Rule) *policy.Policy {
	return compileSpec(t, policy.Spec{Rules: rules})
}

func compileSpec(t testing.TB, s policy.Spec) *policy.Policy {
	t.Helper()
	for i := range s.Rules {
		s.Rules[i].Line = (i + 1) * 10
	}
	s.Permitted = append(s.Permitted, networks("10.20.0.0/16", "10.30.0.0/16")...)
	p, err := policy.Compile(s)
	require.NoError(t, err)
	return p
}

// connect, get and look are the three commonest questions.
func connect(p *policy.Policy, client netip.Addr, h string, port uint16) policy.Verdict {
	v, _ := p.Connect(policy.Connect{At: now, Surface: policy.CONNECT, Client: client, Dest: dest(h, port)})
	return v
}

func request(method, h string, port uint16, path string) policy.Request {
	return policy.Request{At: now, Client: server, Dest: dest(h, port), Method: method, Path: policy.NewPath(path)}
}

func ask(p *policy.Policy, r policy.Request) policy.Verdict {
	v, _ := p.Request(r)
	return v
}

func look(p *policy.Policy, client netip.Addr, name string, qtype uint16) policy.Verdict {
	v, _ := p.Query(policy.Query{At: now, Client: client, Name: host(name), Type: qtype})
	return v
}

// fetch asks for a page over plain HTTP and for the answer's type and family.
func fetch(t testing.TB, p *policy.Policy, r policy.Request, mediaType string, f policy.Family) policy.Verdict {
	t.Helper()
	v, permit := p.Request(r)
	if !v.Allowed() {
		return v
	}
	v, permit = p.Answer(policy.Answer{At: now, Permit: permit, Addr: public})
	require.True(t, v.Allowed(), "address: %s", v.Reason)
	v, _ = p.Response(policy.Response{At: now, Permit: permit, Type: policy.DeclaredType([]string{mediaType}), Family: f})
	return v
}

// is holds a verdict to effect, reason and rule.
func is(t testing.TB, v policy.Verdict, verdict string, reason policy.Reason, rule string) {
	t.Helper()
	require.Equal(t, []string{verdict, reason.String(), rule}, []string{v.String(), v.Reason.String(), v.RuleName()})
}
