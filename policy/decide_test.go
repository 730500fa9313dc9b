package policy_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/policy"
)

func TestNothingIsAllowedButWhatIsListed(t *testing.T) {
	var none *policy.Policy
	is(t, connect(none, server, "www.example.org", 443), "denied", policy.NoPolicy, "")
	is(t, ask(none, request("GET", "www.example.org", 80, "/")), "denied", policy.NoPolicy, "")
	is(t, look(none, server, "www.example.org", policy.TypeA), "denied", policy.NoPolicy, "")
	v, permit := none.Answer(policy.Answer{})
	is(t, v, "denied", policy.NoPolicy, "")
	require.False(t, permit.Valid())
	v, _ = none.Response(policy.Response{})
	is(t, v, "denied", policy.NoPolicy, "")
	is(t, none.Review(policy.Permit{}, now), "denied", policy.NoPolicy, "")

	is(t, policy.Verdict{}, "denied", policy.NoPolicy, "")
	is(t, connect(compile(t), server, "www.example.org", 443), "denied", policy.HostNotListed, "")
	var live policy.Live
	is(t, connect(live.Policy(), server, "www.example.org", 443), "denied", policy.NoPolicy, "")
}

func TestZeroRulesDoNotCompile(t *testing.T) {
	for name, broken := range map[string]policy.Rule{
		"an allow without hosts names nothing":      with(allow("r", "a.example.org"), func(r *policy.Rule) { r.Hosts = nil }),
		"an allow without ports names nothing":      with(allow("r", "a.example.org"), func(r *policy.Rule) { r.Ports = nil }),
		"an allow without addresses leads nowhere":  with(allow("r", "a.example.org"), addresses(policy.Addresses{})),
		"a rule for no client speaks for nobody":    with(allow("r", "a.example.org"), from()),
		"an empty list of methods is no permission": with(allow("r", "a.example.org"), methods([]string{}...), func(r *policy.Rule) { r.Methods = []string{} }),
		"a rule needs a name":                       allow("", "a.example.org"),
		"a host that is none":                       with(deny("r"), func(r *policy.Rule) { r.Hosts = make([]policy.ListedHost, 1) }),
		"a port that is none":                       with(deny("r", "a.example.org"), on(0)),
		"a range of ports that holds none":          with(deny("r", "a.example.org"), func(r *policy.Rule) { r.Ports = []policy.PortRange{{First: 2, Last: 1}} }),
		"an address that is none":                   with(deny("r"), addresses(policy.Addresses{Prefixes: make([]netip.Prefix, 1)})),
		"a tag that names no address":               with(deny("r"), tagged("T")),
		"a client that is none":                     with(deny("r"), func(r *policy.Rule) { r.Clients = policy.Clients{Prefixes: make([]netip.Prefix, 1)} }),
		"a client dressed as IPv6 would name none":  with(deny("r"), from("::ffff:10.20.0.0/112")),
		"a method that is none":                     with(deny("r", "a.example.org"), methods("")),
		"a path that is none":                       with(deny("r", "a.example.org"), func(r *policy.Rule) { r.Paths = make([]policy.Glob, 1) }),
		"an upload type that is none":               with(allow("r", "a.example.org"), func(r *policy.Rule) { r.Uploads = make([]policy.MediaType, 1) }),
		"a path whose types are none":               with(deny("r", "a.example.org"), func(r *policy.Rule) { r.Types = []policy.TypeEntry{{Glob: glob("*.exe")}} }),
		"a type that is none": with(allow("r", "a.example.org"), func(r *policy.Rule) {
			r.Types = []policy.TypeEntry{{Glob: glob("*"), Types: make([]policy.MediaType, 1)}}
		}),
		"types for no path":        with(allow("r", "a.example.org"), func(r *policy.Rule) { r.Types = []policy.TypeEntry{{Any: true}} }),
		"an upgrade that is none":  with(allow("r", "a.example.org"), upgrades("")),
		"a deny of no upgrade":     with(deny("r", "a.example.org"), upgrades()),
		"an alias that is no name": with(allow("r", "a.example.org"), func(r *policy.Rule) { r.Aliases = make([]policy.HostPattern, 1) }),
	} {
		t.Run(name, func(t *testing.T) {
			p, err := policy.Compile(policy.Spec{Rules: []policy.Rule{broken}})
			require.Error(t, err)
			require.Nil(t, p)
		})
	}
	_, err := policy.Compile(policy.Spec{Rules: []policy.Rule{allow("r", "a.example.org"), allow("r", "b.example.org")}})
	require.ErrorContains(t, err, "used twice")
}

func TestADenyOfEverythingForEverybodyRefusesEverything(t *testing.T) {
	// "needs clients, hosts or addresses": clients = "any" is one of them.
	p := compile(t, allow("web", "www.example.org"), deny("holidays"))
	is(t, connect(p, server, "www.example.org", 443), "denied", policy.DeniedByRule, "holidays")
	is(t, look(p, server, "www.example.org", policy.TypeA), "denied", policy.DeniedByRule, "holidays")
	p = compile(t, with(allow("mail", "mail.example.org"), on(25, 587)), with(deny("no-smtp"), on(25)))
	is(t, connect(p, server, "mail.example.org", 25), "denied", policy.DeniedByRule, "no-smtp")
	is(t, connect(p, server, "mail.example.org", 587), "allowed", policy.Matched, "mail")
	is(t, look(p, server, "mail.example.org", policy.TypeA), "allowed", policy.Matched, "mail")
}

func TestTheStepAtWhichTheLastAllowFellAwayIsTheReason(t *testing.T) {
	p := compile(t,
		with(allow("reads", "www.example.org"), on(80), from("10.20.0.5"), methods("GET"), paths("/a/*")),
		with(allow("writes", "www.example.org"), on(80), from("10.20.0.5"), methods("POST"), paths("/b/*"),
			uploads("text/xml"), addresses(policy.Addresses{Prefixes: networks("203.0.113.0/24")})),
		with(allow("devices", "www.example.org"), on(8080), from("10.30.0.0/16"), speaking(policy.PlainHTTP)),
	)
	post := func(path, upload string) policy.Request {
		r := request("POST", "www.example.org", 80, path)
		r.Body, r.Upload = true, policy.DeclaredType([]string{upload})
		return r
	}
	for name, c := range map[string]struct {
		ask    policy.Request
		reason policy.Reason
		rule   string
	}{
		"the method and path of one rule fit":        {request("GET", "www.example.org", 80, "/a/x"), policy.Matched, "reads"},
		"a method no rule lists":                     {request("PUT", "www.example.org", 80, "/a/x"), policy.MethodNotListed, "reads"},
		"methods are compared with case":             {request("get", "www.example.org", 80, "/a/x"), policy.MethodNotListed, "reads"},
		"GET does not imply HEAD":                    {request("HEAD", "www.example.org", 80, "/a/x"), policy.MethodNotListed, "reads"},
		"the path of the other rule does not add up": {request("GET", "www.example.org", 80, "/b/x"), policy.PathNotListed, "reads"},
		"the upload got furthest":                    {post("/b/x", "text/html"), policy.UploadNotListed, "writes"},
		"a body without a type is no listed upload":  {post("/b/x", ""), policy.UploadNotListed, "writes"},
		"a listed upload with parameters":            {post("/b/x", "Text/XML; charset=utf-8"), policy.Matched, "writes"},
		"a port no rule of this client lists":        {request("GET", "www.example.org", 8080, "/"), policy.PortNotListed, "reads"},
		"a host no rule lists":                       {request("GET", "x.example.org", 80, "/"), policy.HostNotListed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			v := ask(p, c.ask)
			require.Equal(t, c.reason, v.Reason, v.Reason.String())
			require.Equal(t, c.rule, v.RuleName())
		})
	}
	is(t, connect(p, device, "www.example.org", 80), "denied", policy.PortNotListed, "devices")
	is(t, connect(p, netip.MustParseAddr("10.20.9.9"), "www.example.org", 80), "denied", policy.ClientNotListed, "reads")
	is(t, connect(p, visitor, "www.example.org", 80), "denied", policy.ClientNotListed, "")
}

func TestOneRuleMustPermitTheWholePassage(t *testing.T) {
	// "the method of one and the addresses of another never add up"
	p := compile(t,
		with(allow("get-public", "www.example.org"), on(80), methods("GET")),
		with(allow("post-lab", "www.example.org"), on(80), methods("POST"), leading("198.51.100.0/24")),
	)
	v, permit := p.Request(request("POST", "www.example.org", 80, "/"))
	is(t, v, "allowed", policy.Matched, "post-lab")
	v, _ = p.Answer(policy.Answer{At: now, Permit: permit, Addr: public})
	is(t, v, "denied", policy.AddressNotAllowed, "post-lab")
	v, narrowed := p.Answer(policy.Answer{At: now, Permit: permit, Addr: netip.MustParseAddr("198.51.100.9")})
	is(t, v, "allowed", policy.Matched, "post-lab")
	require.Equal(t, "198.51.100.9", narrowed.Addr().String())
}

func TestADNSQuestionCarriesEveryAllowOfClientAndName(t *testing.T) {
	p := compile(t,
		with(allow("bus", "bus.example.org"), on(9352), from("10.20.0.5"), tagged("T", "20.50.72.0/24")),
		with(allow("web", "bus.example.org"), on(443), from("10.20.0.5"), leading("198.51.100.0/24")),
		with(allow("phones", "bus.example.org"), on(80), from("10.30.0.0/16")),
	)
	_, permit := p.Query(policy.Query{At: now, Client: server, Name: host("bus.example.org"), Type: policy.TypeA})
	for addr, reason := range map[string]policy.Reason{
		"20.50.72.1": policy.Matched, "198.51.100.1": policy.Matched, "8.8.8.8": policy.AddressNotAllowed,
	} {
		v, _ := p.Answer(policy.Answer{At: now, Permit: permit, Addr: netip.MustParseAddr(addr)})
		require.Equal(t, reason, v.Reason, addr)
	}
	_, permit = p.Query(policy.Query{At: now, Client: device, Name: host("bus.example.org")})
	v, _ := p.Answer(policy.Answer{At: now, Permit: permit, Addr: netip.MustParseAddr("8.8.8.8")})
	is(t, v, "allowed", policy.Matched, "phones")
}

func TestQueryTypesAndCanaries(t *testing.T) {
	p := compile(t, allow("web", "www.example.org", "*.icloud.com"))
	is(t, look(p, server, "www.example.org", policy.TypeA), "allowed", policy.Matched, "web")
	is(t, look(p, server, "www.example.org", policy.TypeAAAA), "allowed", policy.Matched, "web")
	is(t, look(p, server, "www.example.org", 65), "denied", policy.QueryTypeNotAllowed, "web")
	is(t, look(p, server, "other.example.org", 65), "denied", policy.HostNotListed, "")
	is(t, look(p, server, "x.www.example.org", policy.TypeA), "denied", policy.HostNotListed, "")
	is(t, look(p, server, "mask.icloud.com", policy.TypeA), "denied", policy.Canary, "")
	is(t, look(p, server, "photos.icloud.com", policy.TypeA), "allowed", policy.Matched, "web")
	literal := compileSpec(t, policy.Spec{Mode: policy.Monitor, Rules: []policy.Rule{allow("lan", "198.51.100.7")}})
	is(t, look(literal, server, "198.51.100.7", policy.TypeA), "denied", policy.HostNotListed, "")
	is(t, look(p, visitor, "mask.icloud.com", policy.TypeA), "denied", policy.ClientNotListed, "")
}

func TestPortsDecideTheProtocol(t *testing.T) {
	p := compile(t,
		with(allow("all", "bus.example.org"), on(80, 443, 5671, 5672, 9350)),
		with(allow("own-tls", "bus.example.org"), on(9350), speaking(policy.TLS)),
		with(allow("udp", "voice.example.org"), on(5004), speaking(policy.UDP)),
	)
	for port, protocol := range map[uint16]policy.Protocol{
		80: policy.PlainHTTP, 443: policy.TLS, 5671: policy.TLS, 5672: policy.TCP,
		9350: policy.TLS, // one that says nothing follows the other
	} {
		v := connect(p, server, "bus.example.org", port)
		is(t, v, "allowed", policy.Matched, "all")
		require.Equal(t, protocol, v.Protocol, port)
	}
	is(t, ask(p, request("GET", "bus.example.org", 443, "/")), "denied", policy.NotHTTP, "all")
	is(t, connect(p, server, "voice.example.org", 5004), "denied", policy.PortNotListed, "udp")
	is(t, look(p, server, "voice.example.org", policy.TypeA), "allowed", policy.Matched, "udp")
}

func TestTheFirstBytesOfATunnel(t *testing.T) {
	p := compile(t, with(allow("bus", "bus.example.org", "198.51.100.7"), on(80, 443, 9350), leading("198.51.100.0/24")))
	for name, c := range map[string]struct {
		host    string
		port    uint16
		opening policy.Opening
		reason  policy.Reason
	}{
		"TLS with the tunnel's name":          {"bus.example.org", 443, policy.Opening{Protocol: policy.TLS, SNI: "BUS.example.org."}, policy.Matched},
		"TLS with another name":               {"bus.example.org", 443, policy.Opening{Protocol: policy.TLS, SNI: "evil.example.org"}, policy.SNIMismatch},
		"TLS without a name":                  {"bus.example.org", 443, policy.Opening{Protocol: policy.TLS}, policy.SNIMissing},
		"something else on a tls port":        {"bus.example.org", 443, policy.Opening{Protocol: policy.TCP}, policy.NotTLS},
		"HTTP on a tls port":                  {"bus.example.org", 443, policy.Opening{Protocol: policy.PlainHTTP}, policy.NotTLS},
		"TLS on an http port":                 {"bus.example.org", 80, policy.Opening{Protocol: policy.TLS, SNI: "bus.example.org"}, policy.NotHTTP},
		"HTTP on an http port":                {"bus.example.org", 80, policy.Opening{Protocol: policy.PlainHTTP}, policy.Matched},
		"anything on a tcp port":              {"bus.example.org", 9350, policy.Opening{Protocol: policy.TCP}, policy.Matched},
		"a name that Unicode alone folds":     {"bus.example.org", 443, policy.Opening{Protocol: policy.TLS, SNI: "buſ.example.org"}, policy.SNIMismatch},
		"a name that is a dot alone":          {"bus.example.org", 443, policy.Opening{Protocol: policy.TLS, SNI: "."}, policy.SNIMissing},
		"no name towards a literal":           {"198.51.100.7", 443, policy.Opening{Protocol: policy.TLS}, policy.Matched},
		"a name towards a literal is refused": {"198.51.100.7", 443, policy.Opening{Protocol: policy.TLS, SNI: "bus.example.org"}, policy.SNIMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			v, _ := p.Connect(policy.Connect{At: now, Surface: policy.CONNECT, Client: server, Dest: dest(c.host, c.port), Opening: c.opening})
			require.Equal(t, c.reason.String(), v.Reason.String())
		})
	}
}

func TestExpiredWhereARulePastItsDayGotFurther(t *testing.T) {
	p := compile(t,
		with(allow("pilot", "pilot.example.org"), on(80), until(now)),
		with(allow("reads", "both.example.org"), on(80), methods("GET")),
		with(allow("wrote", "both.example.org"), on(80), methods("POST"), until(now.Add(-time.Hour))),
	)
	is(t, ask(p, request("GET", "pilot.example.org", 80, "/")), "denied", policy.Expired, "pilot")
	is(t, ask(p, request("POST", "both.example.org", 80, "/")), "denied", policy.Expired, "wrote")
	is(t, ask(p, request("PUT", "both.example.org", 80, "/")), "denied", policy.MethodNotListed, "reads")
	is(t, look(p, server, "pilot.example.org", policy.TypeA), "denied", policy.Expired, "pilot")
	v, _ := p.Connect(policy.Connect{At: now.Add(-time.Nanosecond), Client: server, Dest: dest("pilot.example.org", 80)})
	is(t, v, "allowed", policy.Matched, "pilot")
}

func TestAMomentNobodyFilledInOpensNothing(t *testing.T) {
	p := compileSpec(t, policy.Spec{
		Mode: policy.Monitor, MonitorUntil: now,
		Rules: []policy.Rule{
			with(allow("pilot", "pilot.example.org"), until(now)), allow("web", "www.example.org"),
			with(deny("exams", "www.example.org"), until(now)),
		},
	})
	v, _ := p.Connect(policy.Connect{Client: server, Dest: dest("pilot.example.org", 443)})
	is(t, v, "denied", policy.Expired, "pilot")
	v, _ = p.Connect(policy.Connect{Client: server, Dest: dest("www.example.org", 443)})
	is(t, v, "denied", policy.DeniedByRule, "exams")
}

func TestAliases(t *testing.T) {
	p := compile(t,
		with(allow("narrow", "narrow.example.org"), through("*.cloudapp.net")),
		with(allow("none", "none.example.org"), through()),
		allow("any", "any.example.org"),
		deny("never", "files.example.org"),
		with(deny("ported", "ported.example.org"), on(25)),
	)
	for name, c := range map[string]struct {
		host    string
		aliases []string
		reason  policy.Reason
		rule    string
	}{
		"an alias the rule lists":                        {"narrow.example.org", []string{"x.cloudapp.net"}, policy.Matched, "narrow"},
		"one of two aliases is not listed":               {"narrow.example.org", []string{"x.cloudapp.net", "y.example.net"}, policy.AliasNotAllowed, "narrow"},
		"an empty list means none":                       {"none.example.org", []string{"x.cloudapp.net"}, policy.AliasNotAllowed, "none"},
		"no list means any":                              {"any.example.org", []string{"whatever.example.net"}, policy.Matched, "any"},
		"an alias to a denied name":                      {"any.example.org", []string{"files.example.org"}, policy.DeniedByRule, "never"},
		"a deny with ports leaves the name alone":        {"any.example.org", []string{"ported.example.org"}, policy.Matched, "any"},
		"a denied alias beats the list that permits all": {"narrow.example.org", []string{"files.example.org"}, policy.DeniedByRule, "never"},
	} {
		t.Run(name, func(t *testing.T) {
			_, permit := p.Query(policy.Query{At: now, Client: server, Name: host(c.host)})
			var chain []policy.Host
			for _, a := range c.aliases {
				chain = append(chain, host(a))
			}
			v, _ := p.Answer(policy.Answer{At: now, Permit: permit, Aliases: chain, Addr: public})
			require.Equal(t, []string{c.reason.String(), c.rule}, []string{v.Reason.String(), v.RuleName()})
		})
	}
}

func TestAPermitRemembersItsAliases(t *testing.T) {
	p := compile(t, allow("web", "www.example.org"))
	_, permit := p.Query(policy.Query{At: now, Client: server, Name: host("www.example.org")})
	_, permit = p.Answer(policy.Answer{At: now, Permit: permit, Aliases: []policy.Host{host("files.example.net")}})
	_, permit = p.Answer(policy.Answer{At: now, Permit: permit, Addr: public})
	require.Equal(t, []policy.Host{host("files.example.net")}, permit.Aliases())
	after := compile(t, allow("web", "www.example.org"), deny("never", "files.example.net"))
	is(t, after.Review(permit, now), "denied", policy.DeniedByRule, "never")
}

func TestPermitsAreGoodForTheirOwnPolicyOnly(t *testing.T) {
	p, q := compile(t, allow("web", "www.example.org")), compile(t, allow("web", "www.example.org"))
	_, permit := p.Connect(policy.Connect{At: now, Client: server, Dest: dest("www.example.org", 443)})
	require.True(t, permit.IssuedBy(p))
	require.False(t, permit.IssuedBy(q))
	require.False(t, policy.Permit{}.IssuedBy(nil))
	v, _ := q.Answer(policy.Answer{At: now, Permit: permit, Addr: public})
	require.False(t, v.Allowed())
	// A tunnel has no response to judge.
	v, _ = p.Response(policy.Response{At: now, Permit: permit})
	require.False(t, v.Allowed())
}

func TestReviewAsksTheWholePassageAgain(t *testing.T) {
	before := compile(t, with(allow("web", "www.example.org"), until(now.Add(time.Hour))))
	_, permit := before.Connect(policy.Connect{At: now, Client: server, Dest: dest("www.example.org", 443)})
	_, permit = before.Answer(policy.Answer{At: now, Permit: permit, Addr: public})

	is(t, before.Review(permit, now), "allowed", policy.Matched, "web")
	is(t, before.Review(permit, now.Add(time.Hour)), "denied", policy.Expired, "web")
	moved := compile(t, with(allow("web", "www.example.org"), leading("198.51.100.0/24")))
	is(t, moved.Review(permit, now), "denied", policy.AddressNotAllowed, "web")
	is(t, compile(t).Review(permit, now), "denied", policy.HostNotListed, "")
	is(t, before.Review(policy.Permit{}, now), "denied", policy.NoPolicy, "")
}

func TestAPermitForReviewIsGoodForNothingElse(t *testing.T) {
	p := compile(t, with(allow("web", "www.example.org"), until(now.Add(time.Hour))))
	_, whole := p.Connect(policy.Connect{At: now, Client: server, Dest: dest("www.example.org", 443)})
	_, whole = p.Answer(policy.Answer{At: now, Permit: whole, Addr: public})
	kept := whole.ForReview()
	require.True(t, kept.Valid())
	for _, inForce := range []*policy.Policy{p, compile(t), compile(t, with(allow("web", "www.example.org"), leading("198.51.100.0/24"))), nil} {
		for _, at := range []time.Time{now, now.Add(time.Hour)} {
			require.Equal(t, inForce.Review(whole, at), inForce.Review(kept, at))
		}
	}
	require.False(t, kept.IssuedBy(p))
	for _, who := range []*policy.Policy{p, kept.Policy()} {
		v, next := who.Answer(policy.Answer{At: now, Permit: kept, Addr: public})
		require.False(t, v.Allowed())
		require.False(t, next.Valid())
	}
	require.False(t, policy.Permit{}.ForReview().Valid())
}

func TestRuleNamesAreToldOnlyToClientsTheyName(t *testing.T) {
	p := compile(t, with(allow("servers", "www.example.org"), from("10.20.0.5")))
	require.True(t, p.MayTell(server, host("www.example.org")))
	require.False(t, p.MayTell(device, host("www.example.org")))
	require.False(t, p.MayTell(visitor, host("www.example.org")))
	require.False(t, p.MayTell(server, host("other.example.org")))
	p = compile(t, allow("everybody", "www.example.org"))
	require.True(t, p.MayTell(server, host("www.example.org")))
	require.False(t, p.MayTell(visitor, host("www.example.org")), "a stranger is nobody's client")
}

func TestALiveAllowMakesAPermittedClient(t *testing.T) {
	p, err := policy.Compile(policy.Spec{Rules: []policy.Rule{
		with(allow("pilot", "www.example.org"), from("10.40.0.1"), until(now.Add(time.Hour))),
		with(allow("steady", "www.example.org"), from("10.40.0.2")),
		with(deny("kiosk"), from("10.40.0.3")),
	}})
	require.NoError(t, err)
	later := now.Add(time.Hour)
	for client, permitted := range map[string][2]bool{
		"10.40.0.1": {true, false}, "10.40.0.2": {true, true}, "10.40.0.3": {false, false},
		"10.40.0.4": {false, false}, "127.0.0.1": {true, true}, "::1": {true, true},
	} {
		a := netip.MustParseAddr(client)
		require.Equal(t, permitted, [2]bool{p.Client(a, now).Allowed(), p.Client(a, later).Allowed()}, client)
	}
}

func TestMappedClientsAreTheirIPv4Selves(t *testing.T) {
	p := compile(t, with(allow("servers", "www.example.org"), from("10.20.0.5")))
	is(t, connect(p, netip.MustParseAddr("::ffff:10.20.0.5"), "www.example.org", 443), "allowed", policy.Matched, "servers")
	require.False(t, p.Client(netip.Addr{}, now).Allowed(), "an unknown sender is a stranger")
}
