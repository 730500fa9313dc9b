package policy_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/policy"
)

// crowd is a policy that lists n hosts in rules of a hundred, the asked ones
// among them.
func crowd(t testing.TB, n int) *policy.Policy {
	var rules []policy.Rule
	for i := 0; i < n; i += 100 {
		r := with(allow(fmt.Sprintf("rule-%d", i), "seed.example.org"), on(80, 443), types("*.inf", "text/plain"), types("*"))
		for j := i; j < min(i+100, n); j++ {
			r.Hosts = append(r.Hosts, listed(fmt.Sprintf("host-%d.school-%d.example.net", j, i))...)
		}
		r.Hosts = r.Hosts[1:]
		rules = append(rules, r)
	}
	rules = append(rules, with(allow("bus", "bus.example.org", "g*-*-sb.bus.example.org"), on(80, 443, 9352), tagged("T", "20.50.72.0/24")))
	return compile(t, rules...)
}

// passage asks all a busy exchange asks, from the head to the response type.
func passage(p *policy.Policy, q policy.Request) bool {
	v, permit := p.Request(q)
	if !v.Allowed() {
		return false
	}
	_, permit = p.Answer(policy.Answer{At: now, Permit: permit, Addr: public})
	v, _ = p.Response(policy.Response{At: now, Permit: permit, Type: plainText, Family: policy.FamilyText})
	return v.Allowed()
}

var plainText = media("text/plain")

func TestDecisionsAllocateNothing(t *testing.T) {
	p := crowd(t, 1000)
	listed := request("GET", "host-7.school-0.example.net", 80, "/a/update.inf")
	unlisted := request("GET", "host-7.school-0.example.org", 80, "/a/update.inf")
	tunnel := policy.Connect{At: now, Client: server, Dest: dest("g0-db3-sb.bus.example.org", 9352)}
	query := policy.Query{At: now, Client: server, Name: host("bus.example.org"), Type: policy.TypeA}
	chain := []policy.Host{host("a.example.net"), host("b.example.net")}
	require.True(t, passage(p, listed))
	for name, f := range map[string]func(){
		"a whole exchange":  func() { passage(p, listed) },
		"a refused request": func() { p.Request(unlisted) },
		"a tunnel":          func() { p.Connect(tunnel) },
		"a name and its answer": func() {
			_, permit := p.Query(query)
			p.Answer(policy.Answer{At: now, Permit: permit, Aliases: chain, Addr: public})
		},
	} {
		require.Zero(t, testing.AllocsPerRun(100, f), name)
	}
}

func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{10, 1000, 100000} {
		p := crowd(b, n)
		for name, q := range map[string]policy.Request{
			"listed":   request("GET", "host-7.school-0.example.net", 80, "/a/update.inf"),
			"unlisted": request("GET", "host-7.school-0.example.org", 80, "/a/update.inf"),
		} {
			b.Run(fmt.Sprintf("hosts=%d/%s", n, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					passage(p, q)
				}
			})
		}
	}
}

func BenchmarkConnect(b *testing.B) {
	for _, n := range []int{10, 1000, 100000} {
		p := crowd(b, n)
		q := policy.Connect{At: now, Client: netip.MustParseAddr("10.20.0.5"), Dest: dest("g0-db3-sb.bus.example.org", 9352)}
		b.Run(fmt.Sprintf("hosts=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p.Connect(q)
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		crowd(b, 100000)
	}
}

// BenchmarkOneHost asks about a host that a thousand rules name, each with a
// glob of its own that binds the path.
func BenchmarkOneHost(b *testing.B) {
	var rules []policy.Rule
	for i := range 1000 {
		rules = append(rules, with(allow(fmt.Sprintf("rule-%d", i), "www.example.org"), on(80),
			types(fmt.Sprintf("/a*%d", i), "text/plain"), types("*.inf", "text/plain"), types("*")))
	}
	p := compile(b, rules...)
	q := request("GET", "www.example.org", 80, "/a/update.inf")
	require.True(b, passage(p, q))
	b.ReportAllocs()
	for b.Loop() {
		passage(p, q)
	}
}
