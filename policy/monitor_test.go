package policy_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/policy"
)

func TestMonitorModeLetsPassWhatOnlyTheRulesRefuse(t *testing.T) {
	p := compileSpec(t, policy.Spec{
		Mode: policy.Monitor, MonitorUntil: now.Add(24 * time.Hour),
		Rules: []policy.Rule{
			with(allow("web", "www.example.org"), methods("GET"), on(80), leading("198.51.100.0/24")),
			deny("never", "files.example.org"),
		},
	})
	is(t, ask(p, request("PUT", "www.example.org", 80, "/")), "would_deny", policy.MethodNotListed, "web")
	is(t, connect(p, server, "other.example.org", 443), "would_deny", policy.HostNotListed, "")
	require.Equal(t, policy.TLS, connect(p, server, "other.example.org", 443).Protocol, "a port no rule names has its usual protocol")
	is(t, connect(p, server, "files.example.org", 443), "denied", policy.DeniedByRule, "never")
	is(t, connect(p, visitor, "www.example.org", 443), "denied", policy.ClientNotListed, "")
	is(t, look(p, server, "mask.icloud.com", policy.TypeA), "denied", policy.Canary, "")
	is(t, look(p, server, "other.example.org", 16), "denied", policy.QueryTypeNotAllowed, "")

	_, permit := p.Query(policy.Query{At: now, Client: server, Name: host("other.example.org")})
	v, _ := p.Answer(policy.Answer{At: now, Permit: permit, Addr: public})
	is(t, v, "would_deny", policy.HostNotListed, "")
	v, _ = p.Answer(policy.Answer{At: now, Permit: permit, Addr: netip.MustParseAddr("169.254.169.254")})
	is(t, v, "denied", policy.AddressNotAllowed, "")
	v, _ = p.Answer(policy.Answer{At: now, Permit: permit, Addr: netip.MustParseAddr("10.1.1.1")})
	is(t, v, "denied", policy.AddressNotAllowed, "")

	late := now.Add(24 * time.Hour)
	require.Equal(t, policy.Enforce, p.Mode(late))
	v, _ = p.Connect(policy.Connect{At: late, Client: server, Dest: dest("other.example.org", 443)})
	is(t, v, "denied", policy.HostNotListed, "")
}

func TestMonitorModeLeavesAnInternalHostWhatItsRuleSaysOfAddresses(t *testing.T) {
	p := compileSpec(t, policy.Spec{Mode: policy.Monitor, Rules: []policy.Rule{
		with(allow("intranet", "intranet.example.org"), on(80), methods("GET"), leading("10.0.0.0/24", "127.0.0.0/8")),
	}})
	_, permit := p.Request(request("PUT", "intranet.example.org", 80, "/"))
	for addr, verdict := range map[string]string{"10.0.0.7": "would_deny", "10.0.1.7": "denied", "127.0.0.1": "denied"} {
		v, _ := p.Answer(policy.Answer{At: now, Permit: permit, Addr: netip.MustParseAddr(addr)})
		require.Equal(t, verdict, v.String(), addr)
	}
}
