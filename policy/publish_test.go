package policy_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gatehouse/policy"
)

// emerge publishes the Emerge Server to the devices.
func emerge(change ...func(*policy.Publication)) policy.Publication {
	p := policy.Publication{
		Name: "emerge", Line: 7, Clients: policy.Clients{Prefixes: networks("10.30.0.0/16")},
		To: dest("10.20.0.5", 8080), Methods: []string{"GET", "POST", "PUT"}, MaxBody: 1000,
	}
	for _, f := range change {
		f(&p)
	}
	return p
}

func published(t *testing.T, p policy.Publication, rules ...policy.Rule) *policy.Policy {
	t.Helper()
	compiled, err := policy.Compile(policy.Spec{Publications: []policy.Publication{p}, Rules: rules, Permitted: networks("10.20.0.0/16")})
	require.NoError(t, err)
	return compiled
}

func comingIn(change ...func(*policy.Published)) policy.Published {
	q := policy.Published{At: now, Client: device, Name: "emerge", Method: "GET", Path: policy.NewPath("/api/pupils")}
	for _, f := range change {
		f(&q)
	}
	return q
}

func TestWhatComesIn(t *testing.T) {
	p := published(t, emerge(func(p *policy.Publication) { p.Paths = []policy.Glob{glob("/api/*")} }))
	for _, c := range []struct {
		name   string
		change func(*policy.Published)
		reason policy.Reason
	}{
		{"a device asks", func(q *policy.Published) {}, policy.Matched},
		{"a device sends as much as is permitted", func(q *policy.Published) { q.Method, q.Body, q.Octets = "PUT", true, 1000 }, policy.Matched},
		{"a device sends more", func(q *policy.Published) { q.Method, q.Body, q.Octets = "PUT", true, 1001 }, policy.Limit},
		{"a stranger", func(q *policy.Published) { q.Client = visitor }, policy.ClientNotListed},
		{"a permitted client that it is not for", func(q *policy.Published) { q.Client = server }, policy.ClientNotListed},
		{"a v4-mapped device", func(q *policy.Published) { q.Client = netip.MustParseAddr("::ffff:10.30.1.2") }, policy.Matched},
		{"another method", func(q *policy.Published) { q.Method = "DELETE" }, policy.MethodNotListed},
		{"HEAD, which GET does not imply", func(q *policy.Published) { q.Method = "HEAD" }, policy.MethodNotListed},
		{"another path", func(q *policy.Published) { q.Path = policy.NewPath("/admin") }, policy.PathNotListed},
		{"the path in capitals, encoded, with a query", func(q *policy.Published) { q.Path = policy.NewPath("//%41PI/x?y") }, policy.Matched},
		{"a path that can be read in two ways", func(q *policy.Published) { q.Path = policy.NewPath("/api/..%2fadmin") }, policy.BadRequest},
		{"an upgrade", func(q *policy.Published) { q.Upgrade = "websocket" }, policy.UpgradeNotListed},
		{"a publish that there is none of", func(q *policy.Published) { q.Name = "other" }, policy.HostNotListed},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, permit := p.Published(comingIn(c.change))
			require.Equal(t, c.reason.String(), v.Reason.String())
			require.Equal(t, c.reason == policy.Matched, v.Allowed())
			require.Equal(t, v.Allowed(), permit.Valid())
			if v.Allowed() {
				require.Equal(t, dest("10.20.0.5", 8080), permit.Dest())
				require.Equal(t, "emerge", v.RuleName())
				require.Equal(t, "direct", v.Parent)
			}
		})
	}
}

func TestNothingComesInWithoutAPolicy(t *testing.T) {
	var none *policy.Policy
	v, permit := none.Published(comingIn())
	require.Equal(t, policy.NoPolicy, v.Reason)
	require.False(t, v.Allowed() || permit.Valid())
	require.Nil(t, none.Publications())
	require.Nil(t, none.Publication("emerge"))
	v, _ = none.Body(policy.Body{At: now, Octets: 1})
	require.False(t, v.Allowed())
}

// A publication whose path is not judged lets odd ones through, as an allow does.
func TestAPublicationWithoutPathsJudgesNone(t *testing.T) {
	odd := comingIn(func(q *policy.Published) { q.Path = policy.NewPath("/a%2fb") })
	v, _ := published(t, emerge()).Published(odd)
	require.Equal(t, policy.Matched, v.Reason)
	v, _ = published(t, emerge(), with(deny("no-admin", "10.20.0.5"), paths("/admin*"))).Published(odd)
	require.Equal(t, policy.BadRequest, v.Reason, "a deny of its server speaks of paths")
	v, _ = published(t, emerge(), with(allow("out", "10.20.0.5"), paths("/admin*"))).Published(odd)
	require.Equal(t, policy.Matched, v.Reason, "an allow speaks of what goes out")
}

func TestBeingPublishedToOpensNothingOutward(t *testing.T) {
	p := published(t, emerge(), with(allow("for-others", "www.example.org"), from("10.20.0.5")))
	for target, reason := range map[policy.Dest]policy.Reason{
		dest("10.20.0.5", 8080): policy.HostNotListed, dest("www.example.org", 443): policy.ClientNotListed, dest("elsewhere.example", 443): policy.HostNotListed,
	} {
		v, _ := p.Connect(policy.Connect{At: now, Surface: policy.CONNECT, Client: device, Dest: target})
		require.Equal(t, reason, v.Reason, target)
		v, _ = p.Request(policy.Request{At: now, Client: device, Dest: target, Method: "GET", Path: policy.NewPath("/")})
		require.Equal(t, reason, v.Reason, target)
	}
	v, _ := published(t, emerge(func(p *policy.Publication) { p.To = dest("emerge.school.local", 80) })).
		Query(policy.Query{At: now, Client: device, Name: host("emerge.school.local")})
	require.Equal(t, policy.HostNotListed, v.Reason, "nor does it resolve a name")
}

func TestAnAllowLetsNobodyIn(t *testing.T) {
	p := published(t, emerge(), with(allow("all", "10.20.0.5"), on(8080), speaking(policy.PlainHTTP)))
	v, _ := p.Published(comingIn(func(q *policy.Published) { q.Client = server }))
	require.Equal(t, policy.ClientNotListed, v.Reason)
	v, _ = p.Published(comingIn(func(q *policy.Published) { q.Method = "DELETE" }))
	require.Equal(t, policy.MethodNotListed, v.Reason)
}

func TestDeniesApplyToWhatComesIn(t *testing.T) {
	post := func(q *policy.Published) {
		q.Method, q.Body, q.Upload, q.Octets = "POST", true, media("text/html"), 4
	}
	for _, c := range []struct {
		name   string
		deny   policy.Rule
		change func(*policy.Published)
		fits   bool
	}{
		{"of the client", with(deny("d"), from("10.30.1.2")), post, true},
		{"of another client", with(deny("d"), from("10.30.1.3")), post, false},
		{"of the server", deny("d", "10.20.0.5"), post, true},
		{"of another host", deny("d", "10.20.0.6"), post, false},
		{"of its port", with(deny("d", "10.20.0.5"), on(8080)), post, true},
		{"of another port", with(deny("d", "10.20.0.5"), on(443)), post, false},
		{"of a method", with(deny("d", "10.20.0.5"), methods("POST")), post, true},
		{"of another method", with(deny("d", "10.20.0.5"), methods("PUT")), post, false},
		{"of a path", with(deny("d", "10.20.0.5"), paths("/api/*")), post, true},
		{"of an upload", with(deny("d", "10.20.0.5"), uploads("text/html")), post, true},
		{"of another upload", with(deny("d", "10.20.0.5"), uploads("text/plain")), post, false},
		{"of another protocol", with(deny("d", "10.20.0.5"), speaking(policy.TLS)), post, false},
		{"past its day", with(deny("d", "10.20.0.5"), until(now)), post, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, _ := published(t, emerge(), c.deny).Published(comingIn(c.change))
			if c.fits {
				require.Equal(t, policy.DeniedByRule, v.Reason)
				require.Equal(t, "d", v.RuleName())
			} else {
				require.Equal(t, policy.Matched, v.Reason)
			}
		})
	}
}

// An answer is judged by the denies that speak of types, and by nothing else.
func TestAnAnswerToWhatCameIn(t *testing.T) {
	_, permit := published(t, emerge()).Published(comingIn())
	require.False(t, permit.Policy().JudgesTypes(&permit))
	denies := published(t, emerge(func(p *policy.Publication) { p.Paths = []policy.Glob{glob("/api/*")} }), with(deny("d", "10.20.0.5"), types("*", "text/html")))
	_, permit = denies.Published(comingIn())
	require.True(t, denies.JudgesTypes(&permit))
	require.False(t, denies.HoldsHead(permit))
	v, _ := denies.Response(policy.Response{At: now, Permit: permit, Type: media("text/html")})
	require.Equal(t, policy.DeniedByRule, v.Reason)
	v, _ = denies.Response(policy.Response{At: now, Permit: permit, Type: media("text/plain")})
	require.Equal(t, policy.Matched, v.Reason)
}

// ledTo is what is decided of a request that the server's name leads to an address.
func ledTo(p *policy.Policy, q policy.Published, addr string) policy.Verdict {
	v, permit := p.Published(q)
	if !v.Allowed() {
		return v
	}
	v, _ = p.Answer(policy.Answer{At: now, Permit: permit, Addr: netip.MustParseAddr(addr)})
	return v
}

func TestWhereAPublicationLeads(t *testing.T) {
	literal := published(t, emerge())
	named := published(t, emerge(func(p *policy.Publication) { p.To = dest("emerge.school.local", 80) }))
	machine := published(t, emerge(func(p *policy.Publication) { p.To = dest("127.0.0.1", 80) }))
	for _, c := range []struct {
		name   string
		p      *policy.Policy
		addr   string
		reason policy.Reason
	}{
		{"the literal itself", literal, "10.20.0.5", policy.Matched},
		{"another address than the literal", literal, "10.20.0.6", policy.AddressNotAllowed},
		{"a name on the school's network", named, "10.20.0.5", policy.Matched},
		{"a name at a public address", named, "20.50.72.1", policy.Matched},
		{"a name at this machine", named, "127.0.0.1", policy.AddressNotAllowed},
		{"a name at the cloud's metadata", named, "169.254.169.254", policy.AddressNotAllowed},
		{"a name at a shared address", named, "100.64.0.1", policy.AddressNotAllowed},
		{"this machine as a literal", machine, "127.0.0.1", policy.AddressNotAllowed},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.reason.String(), ledTo(c.p, comingIn(), c.addr).Reason.String())
		})
	}
	dropped := published(t, emerge(), policy.Rule{Name: "d", Deny: true, Clients: policy.Clients{Any: true}, Addresses: policy.Addresses{Prefixes: networks("10.0.0.0/8")}})
	require.Equal(t, policy.DeniedByRule, ledTo(dropped, comingIn(), "10.20.0.5").Reason, "a deny of addresses drops it")
}

func TestABodyGrows(t *testing.T) {
	p := published(t, emerge())
	v, permit := p.Published(comingIn(func(q *policy.Published) { q.Method, q.Body = "PUT", true }))
	require.True(t, v.Allowed())
	v, _ = p.Body(policy.Body{At: now, Permit: permit, Octets: 1000})
	require.Equal(t, policy.Matched, v.Reason)
	v, none := p.Body(policy.Body{At: now, Permit: permit, Octets: 1001})
	require.Equal(t, policy.Limit, v.Reason)
	require.False(t, v.Allowed() || none.Valid())
	v, _ = p.Body(policy.Body{At: now, Octets: 1})
	require.False(t, v.Allowed(), "without a permit")
}

func TestAnOpenRequestEndsWithItsPublication(t *testing.T) {
	p := published(t, emerge())
	_, permit := p.Published(comingIn(func(q *policy.Published) { q.Octets = 900 }))
	_, permit = p.Answer(policy.Answer{At: now, Permit: permit, Addr: server})
	require.True(t, permit.Valid())
	for name, c := range map[string]struct {
		next   policy.Publication
		reason policy.Reason
	}{
		"as it was":               {emerge(), policy.Matched},
		"under another name":      {emerge(func(p *policy.Publication) { p.Name = "other" }), policy.HostNotListed},
		"to another server":       {emerge(func(p *policy.Publication) { p.To = dest("10.20.0.6", 8080) }), policy.HostNotListed},
		"over TLS now":            {emerge(func(p *policy.Publication) { p.Secure = true }), policy.HostNotListed},
		"for others now":          {emerge(func(p *policy.Publication) { p.Clients.Prefixes = networks("10.31.0.0/16") }), policy.ClientNotListed},
		"without the method":      {emerge(func(p *policy.Publication) { p.Methods = []string{"PUT"} }), policy.MethodNotListed},
		"with less room":          {emerge(func(p *policy.Publication) { p.MaxBody = 899 }), policy.Limit},
		"for other paths":         {emerge(func(p *policy.Publication) { p.Paths = []policy.Glob{glob("/other*")} }), policy.PathNotListed},
		"renamed in monitor mode": {emerge(func(p *policy.Publication) { p.Name = "other" }), policy.HostNotListed},
	} {
		t.Run(name, func(t *testing.T) {
			spec := policy.Spec{Publications: []policy.Publication{c.next}, Permitted: networks("10.30.0.0/16")}
			if name == "renamed in monitor mode" {
				spec.Mode = policy.Monitor
			}
			next, err := policy.Compile(spec)
			require.NoError(t, err)
			v := next.Review(permit, now)
			require.Equal(t, c.reason.String(), v.Reason.String())
			require.Equal(t, c.reason == policy.Matched, v.Allowed())
		})
	}
}

// In monitor mode what the publication would refuse passes, as elsewhere; a body
// that is too large, a deny and a stranger are refused all the same.
func TestAPublicationInMonitorMode(t *testing.T) {
	p, err := policy.Compile(policy.Spec{
		Mode: policy.Monitor, Publications: []policy.Publication{emerge()}, Permitted: networks("10.20.0.0/16"),
		Rules: []policy.Rule{with(deny("d", "10.20.0.5"), methods("TRACE"))},
	})
	require.NoError(t, err)
	v, permit := p.Published(comingIn(func(q *policy.Published) { q.Method = "DELETE" }))
	require.Equal(t, "would_deny method-not-listed", v.String()+" "+v.Reason.String())
	v, _ = p.Answer(policy.Answer{At: now, Permit: permit, Addr: server})
	require.Equal(t, "would_deny method-not-listed", v.String()+" "+v.Reason.String(), "its server is at a private address, and may be")
	v, permit = p.Published(comingIn(func(q *policy.Published) { q.Method, q.Body, q.Octets = "DELETE", true, 1000 }))
	require.Equal(t, "would_deny method-not-listed", v.String()+" "+v.Reason.String())
	v, _ = p.Body(policy.Body{At: now, Permit: permit, Octets: 1001})
	require.Equal(t, "denied limit", v.String()+" "+v.Reason.String(), "as it grows")
	v, _ = p.Published(comingIn(func(q *policy.Published) { q.Method, q.Body, q.Octets = "DELETE", true, 1001 }))
	require.Equal(t, "denied limit", v.String()+" "+v.Reason.String(), "too large for what only the mode lets pass")
	for reason, change := range map[policy.Reason]func(*policy.Published){
		policy.Limit:           func(q *policy.Published) { q.Octets = 1001 },
		policy.DeniedByRule:    func(q *policy.Published) { q.Method = "TRACE" },
		policy.ClientNotListed: func(q *policy.Published) { q.Client = visitor },
	} {
		v, _ := p.Published(comingIn(change))
		require.False(t, v.Allowed())
		require.Equal(t, reason, v.Reason)
	}
}

func TestPublicationsThatSayNothingDoNotCompile(t *testing.T) {
	for says, change := range map[string]func(*policy.Publication){
		"no name":     func(p *policy.Publication) { p.Name = "" },
		"no server":   func(p *policy.Publication) { p.To = policy.Dest{} },
		"no client":   func(p *policy.Publication) { p.Clients = policy.Clients{} },
		"no method":   func(p *policy.Publication) { p.Methods = nil },
		"paths":       func(p *policy.Publication) { p.Paths = []policy.Glob{} },
		"negative":    func(p *policy.Publication) { p.MaxBody = -1 },
		"dressed as":  func(p *policy.Publication) { p.Clients.Prefixes = networks("::ffff:10.0.0.0/104") },
		"no name, or": func(p *policy.Publication) { *p = policy.Publication{} },
	} {
		_, err := policy.Compile(policy.Spec{Publications: []policy.Publication{emerge(change)}})
		require.Error(t, err, says)
	}
	_, err := policy.Compile(policy.Spec{Publications: []policy.Publication{emerge(), emerge()}})
	require.ErrorContains(t, err, "used twice")
	zero := published(t, emerge(func(p *policy.Publication) { p.MaxBody = 0 }))
	v, _ := zero.Published(comingIn(func(q *policy.Published) { q.Method, q.Body, q.Octets = "PUT", true, 1 }))
	require.Equal(t, policy.Limit, v.Reason, "the zero value takes no body")
}

func TestWhoMayBeToldOfAPublication(t *testing.T) {
	p := published(t, emerge())
	require.True(t, p.MayTellOf(device, "emerge"))
	require.False(t, p.MayTellOf(server, "emerge"), "it is not for it")
	require.False(t, p.MayTellOf(device, "other"))
	all := published(t, emerge(func(p *policy.Publication) { p.Clients = policy.Clients{Any: true} }))
	require.True(t, all.MayTellOf(server, "emerge"))
	require.False(t, all.MayTellOf(visitor, "emerge"))
}

// What explain says of a published request is what enforcement decides, step by
// step.
func TestExplainAndPublishedAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := randomSpec(t)
		pub := policy.Publication{
			Name: "p", Clients: policy.Clients{Prefixes: networks(rapid.SampledFrom([]string{"10.20.0.5", "10.30.0.0/16"}).Draw(t, "for"))},
			To:      dest(rapid.SampledFrom(someHosts).Draw(t, "to"), rapid.SampledFrom(somePorts).Draw(t, "to port")),
			Secure:  rapid.Bool().Draw(t, "secure"),
			Methods: []string{"GET", rapid.SampledFrom([]string{"PUT", "POST"}).Draw(t, "also")}, MaxBody: 10,
		}
		if rapid.Bool().Draw(t, "paths") {
			pub.Paths = []policy.Glob{glob(rapid.SampledFrom([]string{"/a*", "/b/*", "*"}).Draw(t, "path"))}
		}
		spec.Publications = []policy.Publication{pub}
		p, c := compiled(t, spec), randomCase(t)
		c.Kind, c.Publish, c.Secure, c.QueryType = policy.CasePublish, "p", false, 0
		c.Octets = rapid.SampledFrom([]int64{0, 10, 11}).Draw(t, "octets")
		c.Dest = policy.Dest{}
		want := enforcePublished(p, c, pub.To)
		got := p.Explain(c).Verdict
		require.Equal(t, []string{want.String(), want.Reason.String(), want.RuleName()}, []string{got.String(), got.Reason.String(), got.RuleName()})
	})
}

// enforcePublished asks in the order in which the gate does.
func enforcePublished(p *policy.Policy, c policy.Case, to policy.Dest) policy.Verdict {
	first, permit := p.Published(policy.Published{
		At: c.At, Client: c.Client, Name: c.Publish, Method: c.Method, Path: c.Path,
		Body: c.UploadStated || c.Octets > 0, Upload: c.Upload, Octets: c.Octets, Upgrade: c.Upgrade,
	})
	keep := func(v policy.Verdict, next policy.Permit) bool {
		if !first.Would || !v.Allowed() {
			first = v
		}
		permit = next
		return v.Allowed()
	}
	addr := c.Addr
	if !addr.IsValid() && to.Host.IsIP() {
		addr = to.Host.Addr()
	}
	if !first.Allowed() || (addr.IsValid() || len(c.Aliases) > 0) && !keep(p.Answer(policy.Answer{At: c.At, Permit: permit, Aliases: c.Aliases, Addr: addr})) {
		return first
	}
	if c.TypeStated || c.Family != policy.FamilyUnknown {
		keep(p.Response(policy.Response{At: c.At, Permit: permit, Type: c.Type, Family: c.Family}))
	}
	return first
}
