package policy_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/policy"
)

func TestADenyBeatsEveryAllowAsSoonAsAllItNamesIsKnown(t *testing.T) {
	p := compile(t,
		with(allow("web", "www.example.org", "*.files.example.org"), on(80, 443)),
		deny("whole", "old.files.example.org"),
		with(deny("port", "www.example.org"), on(8443)),
		with(deny("ssh", "web.files.example.org"), on(80)),
		with(deny("spoken", "spoken.files.example.org"), speaking(policy.TLS)),
		with(deny("kiosk"), from("10.30.0.9")),
		with(deny("ended", "www.example.org"), until(now)),
	)
	is(t, connect(p, server, "old.files.example.org", 443), "denied", policy.DeniedByRule, "whole")
	is(t, connect(p, server, "old.files.example.org", 9999), "denied", policy.DeniedByRule, "whole")
	is(t, look(p, server, "old.files.example.org", policy.TypeA), "denied", policy.DeniedByRule, "whole")
	is(t, connect(p, server, "www.example.org", 443), "allowed", policy.Matched, "web")
	is(t, connect(p, server, "web.files.example.org", 80), "denied", policy.DeniedByRule, "ssh")
	is(t, connect(p, server, "web.files.example.org", 443), "allowed", policy.Matched, "web")
	is(t, look(p, server, "web.files.example.org", policy.TypeA), "allowed", policy.Matched, "web")
	is(t, connect(p, server, "spoken.files.example.org", 443), "denied", policy.DeniedByRule, "spoken")
	is(t, connect(p, server, "spoken.files.example.org", 80), "allowed", policy.Matched, "web")
	is(t, connect(p, netip.MustParseAddr("10.30.0.9"), "www.example.org", 443), "denied", policy.DeniedByRule, "kiosk")
}

func TestADenyWithAddressesDropsThoseAddresses(t *testing.T) {
	p := compile(t,
		allow("web", "www.example.org"),
		with(deny("range", "www.example.org"), leading("20.50.72.0/24")),
		with(deny("anywhere"), leading("198.51.99.0/24")),
	)
	is(t, look(p, server, "www.example.org", policy.TypeA), "allowed", policy.Matched, "web")
	_, permit := p.Query(policy.Query{At: now, Client: server, Name: host("www.example.org")})
	for addr, rule := range map[string]string{"20.50.72.1": "range", "198.51.99.1": "anywhere"} {
		v, _ := p.Answer(policy.Answer{At: now, Permit: permit, Addr: netip.MustParseAddr(addr)})
		is(t, v, "denied", policy.DeniedByRule, rule)
	}
	v, _ := p.Answer(policy.Answer{At: now, Permit: permit, Addr: netip.MustParseAddr("20.50.73.1")})
	is(t, v, "allowed", policy.Matched, "web")
}

func TestADenyOfAddressesIsTheReasonOnlyForWhatAnAllowWouldHaveTaken(t *testing.T) {
	rules := []policy.Rule{
		with(allow("web", "www.example.org"), leading("198.51.99.0/24")),
		with(deny("range", "www.example.org"), leading("20.50.72.0/24")),
		deny("never", "files.example.org"),
	}
	answer := func(p *policy.Policy, aliases ...policy.Host) policy.Verdict {
		_, permit := p.Query(policy.Query{At: now, Client: server, Name: host("www.example.org")})
		v, _ := p.Answer(policy.Answer{At: now, Permit: permit, Aliases: aliases, Addr: public})
		return v
	}
	p := compile(t, rules...)
	is(t, answer(p), "denied", policy.AddressNotAllowed, "web")
	is(t, answer(p, host("files.example.org")), "denied", policy.DeniedByRule, "never")
	// Monitor mode lets pass what only the allows refuse, so the deny decides.
	p = compileSpec(t, policy.Spec{Mode: policy.Monitor, Rules: rules})
	is(t, answer(p), "denied", policy.DeniedByRule, "range")
}

func TestADenyReachesTheIPv4AddressInside(t *testing.T) {
	p := compileSpec(t, policy.Spec{TreatAsPublic: networks("64:ff9b::/96"), Rules: []policy.Rule{
		allow("web", "www.example.org"), with(deny("range"), leading("20.50.72.0/24")),
	}})
	_, permit := p.Query(policy.Query{At: now, Client: server, Name: host("www.example.org")})
	v, _ := p.Answer(policy.Answer{At: now, Permit: permit, Addr: netip.MustParseAddr("64:ff9b::20.50.72.1")})
	is(t, v, "denied", policy.DeniedByRule, "range")
	v, _ = p.Answer(policy.Answer{At: now, Permit: permit, Addr: netip.MustParseAddr("64:ff9b::20.50.73.1")})
	is(t, v, "allowed", policy.Matched, "web")
}

func TestADenyWithInnerClauses(t *testing.T) {
	rules := []policy.Rule{
		with(allow("web", "www.example.org"), on(80, 443, 9350)),
		with(deny("admin", "www.example.org"), paths("/admin/*")),
		with(deny("programs", "www.example.org"), types("*", "application/x-msdownload")),
	}
	p := compile(t, rules...)
	is(t, ask(p, request("GET", "www.example.org", 80, "/admin/x")), "denied", policy.DeniedByRule, "admin")
	is(t, ask(p, request("GET", "www.example.org", 80, "/ADMIN//x?y")), "denied", policy.DeniedByRule, "admin")
	is(t, ask(p, request("GET", "www.example.org", 80, "/x")), "allowed", policy.Matched, "web")
	is(t, fetch(t, p, request("GET", "www.example.org", 80, "/x"), "application/x-msdownload", policy.FamilyUnknown),
		"denied", policy.DeniedByRule, "programs")
	// "on a tunnel that is not looked into refuses the whole tunnel"
	is(t, connect(p, server, "www.example.org", 443), "denied", policy.DeniedByRule, "admin")
	is(t, connect(p, server, "www.example.org", 9350), "denied", policy.DeniedByRule, "admin")
	// A tunnel to an http port is judged request by request.
	is(t, connect(p, server, "www.example.org", 80), "allowed", policy.Matched, "web")

	seeing := compileSpec(t, policy.Spec{Inspection: true, Rules: append([]policy.Rule{
		with(allow("looked-into", "www.example.org"), inspect(policy.InspectAlways))}, rules...)})
	v := connect(seeing, server, "www.example.org", 443)
	is(t, v, "allowed", policy.Matched, "looked-into")
	require.Equal(t, policy.Inspect, v.Effect)
	secure := request("GET", "www.example.org", 443, "/admin/x")
	secure.Secure = true
	is(t, ask(seeing, secure), "denied", policy.DeniedByRule, "admin")
}

func TestADenyOfUploadsSpeaksOfBodies(t *testing.T) {
	p := compile(t, with(allow("web", "www.example.org"), on(80)), with(deny("no-csv", "www.example.org"), uploads("text/csv")))
	r := request("GET", "www.example.org", 80, "/")
	r.Upload = media("text/csv") // a Content-Type, and nothing behind it
	is(t, ask(p, r), "allowed", policy.Matched, "web")
	r.Body = true
	is(t, ask(p, r), "denied", policy.DeniedByRule, "no-csv")
}

func TestADenyMayEnd(t *testing.T) {
	p := compile(t, allow("web", "www.example.org"), with(deny("exams", "www.example.org"), until(now.Add(time.Hour))))
	is(t, connect(p, server, "www.example.org", 443), "denied", policy.DeniedByRule, "exams")
	v, _ := p.Connect(policy.Connect{At: now.Add(time.Hour), Client: server, Dest: dest("www.example.org", 443)})
	is(t, v, "allowed", policy.Matched, "web")
}
