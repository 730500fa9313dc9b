package dnsallow

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

func TestMain(m *testing.M) { nettest.Main(m) }

var (
	loopback = netip.MustParseAddr("127.0.0.1")
	machine  = netip.MustParseAddr("10.20.0.5")
	tablet   = netip.MustParseAddr("10.30.0.5")
	stranger = netip.MustParseAddr("203.0.113.9")
)

// northEurope and westEurope stand in for the regions: a part of each suffices.
var (
	northEurope = policy.Tag{Name: "AzureCloud.northeurope", Prefixes: []netip.Prefix{netip.MustParsePrefix("13.74.0.0/16"), netip.MustParsePrefix("2603:1020:5::/48")}}
	westEurope  = policy.Tag{Name: "AzureCloud.westeurope", Prefixes: []netip.Prefix{netip.MustParsePrefix("13.69.64.0/18")}}
)

// clock is a clock that tests turn.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// allow is an allow for every permitted client, on 443 unless a change says
// otherwise.
func allow(t testing.TB, name, host string, changes ...func(*policy.Rule)) policy.Rule {
	t.Helper()
	r := policy.Rule{
		Name: name, Clients: policy.Clients{Any: true}, Hosts: hosts(t, host),
		Ports: []policy.PortRange{{First: 443, Last: 443}}, Addresses: policy.Addresses{Default: true},
	}
	for _, change := range changes {
		change(&r)
	}
	return r
}

func deny(t testing.TB, name, host string, changes ...func(*policy.Rule)) policy.Rule {
	t.Helper()
	r := policy.Rule{Name: name, Deny: true, Clients: policy.Clients{Any: true}}
	if host != "" {
		r.Hosts = hosts(t, host)
	}
	for _, change := range changes {
		change(&r)
	}
	return r
}

func hosts(t testing.TB, pattern string) []policy.ListedHost {
	p, err := policy.ParseHostPattern(pattern)
	require.NoError(t, err)
	return []policy.ListedHost{{HostPattern: p}}
}

func into(tag policy.Tag) func(*policy.Rule) {
	return func(r *policy.Rule) { r.Addresses = policy.Addresses{Tags: []policy.Tag{tag}} }
}

func intoPrefix(prefix string) func(*policy.Rule) {
	return func(r *policy.Rule) {
		r.Addresses = policy.Addresses{Prefixes: []netip.Prefix{netip.MustParsePrefix(prefix)}}
	}
}

func onPort(port uint16) func(*policy.Rule) {
	return func(r *policy.Rule) { r.Ports = []policy.PortRange{{First: port, Last: port}} }
}

func from(client netip.Addr) func(*policy.Rule) {
	return func(r *policy.Rule) {
		r.Clients = policy.Clients{Prefixes: []netip.Prefix{netip.PrefixFrom(client, client.BitLen())}}
	}
}

func through(t testing.TB, patterns ...string) func(*policy.Rule) {
	return func(r *policy.Rule) {
		r.Aliases = []policy.HostPattern{}
		for _, s := range patterns {
			p, err := policy.ParseHostPattern(s)
			require.NoError(t, err)
			r.Aliases = append(r.Aliases, p)
		}
	}
}

func compile(t testing.TB, rules ...policy.Rule) *policy.Policy {
	t.Helper()
	return compileSpec(t, policy.Spec{Rules: rules})
}

func compileSpec(t testing.TB, s policy.Spec) *policy.Policy {
	t.Helper()
	s.Permitted = append(s.Permitted, netip.MustParsePrefix("10.0.0.0/8"))
	p, err := policy.Compile(s)
	require.NoError(t, err)
	return p
}

func host(t testing.TB, s string) policy.Host {
	t.Helper()
	h, err := policy.ParseHost(s)
	require.NoError(t, err)
	return h
}

// permit asks the policy for a tunnel to name:443, as the proxy does.
func permit(t testing.TB, p *policy.Policy, client netip.Addr, name string, port uint16, now time.Time) policy.Permit {
	t.Helper()
	v, permit := p.Connect(policy.Connect{
		At: now, Surface: policy.CONNECT, Client: client, Dest: policy.Dest{Host: host(t, name), Port: port},
	})
	require.True(t, v.Allowed(), v.Reason.String())
	return permit
}

// resolverTo makes a resolver of a double. Its time-outs are generous, so that it
// asks once, however slow the machine is: only tests of silence want hasty ones.
func resolverTo(t testing.TB, up *nettest.DNS, c *clock, changes ...func(*ResolverConfig)) *Resolver {
	t.Helper()
	u, err := ParseUpstream(up.Addr)
	require.NoError(t, err)
	config := ResolverConfig{Upstreams: []Upstream{u}, CacheBytes: 1 << 20, Try: patience / 2, Total: patience, Hedge: patience}
	for _, change := range changes {
		change(&config)
	}
	r := NewResolver(config, ResolverDeps{Now: c.Now})
	t.Cleanup(r.Close) // before up is gone, so that what is being renewed comes to its end
	return r
}

// hasty makes a resolver give up soon.
func hasty(c *ResolverConfig) { c.Try = 50 * time.Millisecond }

func addrs(permits []policy.Permit) []string {
	list := []string{}
	for _, p := range permits {
		list = append(list, p.Addr().String())
	}
	return list
}

// again is lying for a test, which has no use for the key.
func (s *Server) again(out, packet []byte, client netip.Addr) (reply []byte) {
	return s.lying(out, packet, client, s.now(), new(askerKey))
}
