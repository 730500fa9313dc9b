package policy_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/policy"
)

func TestWhereANameMayLead(t *testing.T) {
	tag := policy.Addresses{Tags: []policy.Tag{{Name: "AzureCloud.northeurope", Prefixes: networks("20.50.72.0/24", "127.0.0.0/8", "64:ff9b::/96")}}}
	private := policy.Addresses{Prefixes: policy.PrivateRanges()}
	dflt := policy.Addresses{Default: true}
	any4 := policy.Addresses{Prefixes: networks("0.0.0.0/0", "::/0")}
	for name, c := range map[string]struct {
		clause  policy.Addresses
		treated []string
		addr    string
		permits bool
	}{
		"public":                                     {dflt, nil, "20.50.72.1", true},
		"public, IPv6":                               {dflt, nil, "2603:1020:5:402::171", true},
		"private is not public":                      {dflt, nil, "10.0.0.1", false},
		"shared address space is not public":         {dflt, nil, "100.64.0.1", false},
		"documentation is not public":                {dflt, nil, "192.0.2.1", false},
		"unique local is not public":                 {dflt, nil, "fd00::1", false},
		"outside 2000::/3 is not public":             {dflt, nil, "4000::1", false},
		"private where the rule says private":        {private, nil, "10.0.0.1", true},
		"unique local where the rule says private":   {private, nil, "fd12::1", true},
		"public is not private":                      {private, nil, "20.50.72.1", false},
		"a tag":                                      {tag, nil, "20.50.72.9", true},
		"outside the tag":                            {tag, nil, "13.69.64.65", false},
		"loopback, whatever a rule says":             {any4, nil, "127.0.0.1", false},
		"unspecified, whatever a rule says":          {any4, nil, "0.0.0.0", false},
		"IPv6 loopback, whatever a rule says":        {any4, nil, "::1", false},
		"link-local, whatever a rule says":           {any4, nil, "fe80::1", false},
		"cloud metadata, whatever a rule says":       {any4, nil, "169.254.169.254", false},
		"Azure's platform address, whatever":         {any4, nil, "168.63.129.16", false},
		"multicast, whatever a rule says":            {any4, nil, "224.0.0.1", false},
		"v4-mapped":                                  {any4, nil, "::ffff:20.50.72.1", false},
		"NAT64":                                      {any4, nil, "64:ff9b::1432:4801", false},
		"NAT64, local use":                           {any4, nil, "64:ff9b:1::1432:4801", false},
		"6to4":                                       {any4, nil, "2002:1432:4801::1", false},
		"Teredo":                                     {any4, nil, "2001:0:1432:4801::1", false},
		"IPv4-compatible":                            {any4, nil, "::1432:4801", false},
		"treated as public":                          {dflt, []string{"127.0.0.0/8"}, "127.0.0.1", true},
		"treated as public, which the tag lists":     {tag, []string{"127.0.0.0/8"}, "127.0.0.1", true},
		"treated as public, named by a CIDR":         {any4, []string{"127.0.0.0/8"}, "127.0.0.1", true},
		"NAT64 where treated, the inside public":     {dflt, []string{"64:ff9b::/96"}, "64:ff9b::1432:4801", true},
		"NAT64 where treated, the inside private":    {dflt, []string{"64:ff9b::/96"}, "64:ff9b::0a00:0001", false},
		"NAT64 where treated, the inside loopback":   {any4, []string{"64:ff9b::/96"}, "64:ff9b::7f00:0001", false},
		"treated as public is no part of a tag":      {tag, []string{"13.69.64.65"}, "13.69.64.65", false},
		"everything by CIDR leaves private to a LAN": {any4, nil, "10.0.0.1", true},
	} {
		t.Run(name, func(t *testing.T) {
			p := compileSpec(t, policy.Spec{TreatAsPublic: networks(c.treated...),
				Rules: []policy.Rule{with(allow("r", "www.example.org"), addresses(c.clause))}})
			_, permit := p.Query(policy.Query{At: now, Client: server, Name: host("www.example.org")})
			v, _ := p.Answer(policy.Answer{At: now, Permit: permit, Addr: netip.MustParseAddr(c.addr)})
			require.Equal(t, c.permits, v.Allowed(), v.Reason.String())
			if !c.permits {
				require.Equal(t, policy.AddressNotAllowed, v.Reason)
			}
		})
	}
}

func TestAListedLiteralLeadsToItself(t *testing.T) {
	p := compile(t, allow("lan", "10.0.0.7", "www.example.org"), allow("self", "127.0.0.1"))
	answer := func(h, addr string) policy.Reason {
		_, permit := p.Connect(policy.Connect{At: now, Client: server, Dest: dest(h, 443)})
		v, _ := p.Answer(policy.Answer{At: now, Permit: permit, Addr: netip.MustParseAddr(addr)})
		return v.Reason
	}
	require.Equal(t, policy.Matched, answer("10.0.0.7", "10.0.0.7"))
	require.Equal(t, policy.AddressNotAllowed, answer("10.0.0.7", "20.50.72.1"))
	require.Equal(t, policy.AddressNotAllowed, answer("www.example.org", "10.0.0.7"))
	require.Equal(t, policy.AddressNotAllowed, answer("127.0.0.1", "127.0.0.1"))
}
