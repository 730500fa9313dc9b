package policy_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/policy"
)

func get(h string, port uint16, path string) policy.Case {
	return policy.Case{At: now, Client: server, Dest: dest(h, port), Secure: port == 443, Method: "GET", Path: policy.NewPath(path)}
}

func tunnel(h string, port uint16) policy.Case {
	return policy.Case{At: now, Kind: policy.CaseConnect, Client: server, Dest: dest(h, port)}
}

func typed(c policy.Case, mediaType string) policy.Case {
	c.TypeStated, c.Type = true, policy.DeclaredType([]string{mediaType})
	return c
}

func TestExplainTellsTheStepsAndTheNearestMiss(t *testing.T) {
	p := compile(t,
		with(allow("reads", "www.example.org"), on(80), methods("GET"), paths("/a/*")),
		with(allow("writes", "www.example.org"), on(80), methods("POST")),
		with(allow("phones", "www.example.org"), on(80), from("10.30.0.0/16")),
	)
	e := p.Explain(get("www.example.org", 80, "/b"))
	is(t, e.Verdict, "denied", policy.PathNotListed, "reads")
	require.Equal(t, []string{
		"host: reads writes phones |", "client: reads writes | phones", "port: reads writes |",
		"protocol: reads writes |", "method: reads | writes", "path: | reads",
	}, steps(e))
	require.Equal(t, "reads", e.Nearest.Rule.Name)
	require.Equal(t, `add "/b" to paths`, e.Nearest.Change)
}

func steps(e policy.Explanation) []string {
	var out []string
	for _, s := range e.Steps {
		line := s.Step.String() + ":"
		for _, r := range s.Carried {
			line += " " + r.Name
		}
		line += " |"
		for _, r := range s.Fell {
			line += " " + r.Name
		}
		out = append(out, line)
	}
	return out
}

func TestTheOneChangeThatWouldPermit(t *testing.T) {
	p := compile(t,
		with(allow("web", "www.example.org"), on(80), from("10.20.0.5"), methods("GET"), uploads("text/xml"),
			types("*", "text/plain"), through("a.example.net"), leading("20.50.72.0/24")),
		with(allow("gone", "gone.example.org"), until(now)),
		with(allow("table", "table.example.org"), on(80), types("*.csv", "text/csv")),
		allow("tls", "tls.example.org"),
	)
	change := func(edit func(*policy.Case)) string {
		c := get("www.example.org", 80, "/x")
		edit(&c)
		n := p.Explain(c).Nearest
		if n == nil {
			return ""
		}
		return n.Change
	}
	for want, edit := range map[string]func(*policy.Case){
		`add "10.20.0.6" to clients`: func(c *policy.Case) { c.Client = netip.MustParseAddr("10.20.0.6") },
		`add 8080 to ports`:          func(c *policy.Case) { c.Dest.Port = 8080 },
		`add "PUT" to methods`:       func(c *policy.Case) { c.Method = "PUT" },
		`add "text/css" to uploads`: func(c *policy.Case) {
			c.UploadStated, c.Upload = true, media("text/css")
		},
		`nothing in the rule: the request states no readable Content-Type`: func(c *policy.Case) { c.UploadStated = true },
		`add "h2c" to upgrades`: func(c *policy.Case) { c.Upgrade = "h2c" },
		`add "b.example.net" to aliases`: func(c *policy.Case) {
			c.Aliases = []policy.Host{host("b.example.net")}
		},
		`add "20.50.73.1" to addresses`: func(c *policy.Case) { c.Addr = netip.MustParseAddr("20.50.73.1") },
		`add "text/html" to types`:      func(c *policy.Case) { *c = typed(*c, "text/html") },
		`nothing in the rule: the answer says text/plain but is a program`: func(c *policy.Case) {
			*c = typed(*c, "text/plain")
			c.Family = policy.FamilyProgram
		},
		`set a later day in until`:                                                                    func(c *policy.Case) { *c = get("gone.example.org", 443, "/") },
		`add "*" = "any" to types, or an entry for this path`:                                         func(c *policy.Case) { *c = get("table.example.org", 80, "/x") },
		`ask for www.example.org, which is listed, if that was meant`:                                 func(c *policy.Case) { c.Dest.Host = host("ww.exmple.org") },
		`the port carries tls; ask for it with CONNECT, or set protocol = "http" if it is plain HTTP`: func(c *policy.Case) { *c = get("tls.example.org", 443, "/"); c.Secure = false },
		"": func(c *policy.Case) { c.Dest.Host = host("far-away.example.net") },
	} {
		require.Equal(t, want, change(edit))
	}
}

func TestWhatCannotBeCheckedIsNamed(t *testing.T) {
	rules := []policy.Rule{
		with(allow("updates", "www.example.org"), methods("GET", "POST"), types("*.inf", "text/plain"), types("*")),
		with(allow("paths", "paths.example.org"), paths("/a/*")),
		with(allow("sends", "sends.example.org"), uploads("text/xml")),
		with(allow("plain", "plain.example.org"), on(80), methods("GET")),
		allow("free", "free.example.org"),
	}
	off := compile(t, rules...)
	for name, c := range map[string]struct {
		ask       policy.Case
		unchecked []string
	}{
		"a type that would be refused":               {typed(get("www.example.org", 443, "/update.inf"), "text/html"), []string{"type"}},
		"a type that is not stated":                  {get("www.example.org", 443, "/update.inf"), []string{"type"}},
		"a type that is met":                         {typed(get("www.example.org", 443, "/update.inf"), "text/plain"), nil},
		"a path that would be refused":               {get("paths.example.org", 443, "/b"), []string{"path"}},
		"a path that is met":                         {get("paths.example.org", 443, "/a/b"), nil},
		"a tunnel, in which anything may be asked":   {tunnel("www.example.org", 443), []string{"method", "type"}},
		"a tunnel, in which anything may be sent":    {tunnel("sends.example.org", 443), []string{"upload"}},
		"a tunnel under rules without inner clauses": {tunnel("free.example.org", 443), nil},
		"a tunnel to plain HTTP, which is judged":    {tunnel("plain.example.org", 80), nil},
		"nothing to check":                           {get("free.example.org", 443, "/b"), nil},
		"a method that would be refused too": {func() policy.Case {
			c := get("www.example.org", 443, "/x")
			c.Method = "PUT"
			return c
		}(), []string{"method", "type"}},
	} {
		t.Run(name, func(t *testing.T) {
			e := off.Explain(c.ask)
			is(t, e.Verdict, "allowed", policy.Matched, e.Verdict.RuleName())
			require.Equal(t, c.unchecked, e.Unchecked)
		})
	}
	on := compileSpec(t, policy.Spec{Inspection: true, Rules: rules})
	e := on.Explain(typed(get("www.example.org", 443, "/update.inf"), "text/html"))
	is(t, e.Verdict, "denied", policy.TypeNotListed, "updates")
	require.Empty(t, e.Unchecked)
	require.Empty(t, on.Explain(tunnel("www.example.org", 443)).Unchecked)

	asIf := typed(get("www.example.org", 443, "/update.inf"), "text/html")
	asIf.AsIfInspected = true
	is(t, off.Explain(asIf).Verdict, "denied", policy.TypeNotListed, "updates")
}

func TestExplainInMonitorModeSaysWhatWouldBeRefused(t *testing.T) {
	p := compileSpec(t, policy.Spec{Mode: policy.Monitor, Rules: []policy.Rule{with(allow("web", "www.example.org"), on(80), methods("GET"))}})
	c := get("www.example.org", 80, "/")
	c.Method, c.Addr = "PUT", public
	e := p.Explain(c)
	is(t, e.Verdict, "would_deny", policy.MethodNotListed, "web")
	require.Equal(t, `add "PUT" to methods`, e.Nearest.Change)
	c.AsIfInspected = true
	is(t, p.Explain(c).Verdict, "denied", policy.MethodNotListed, "web")
	c.AsIfInspected, c.Addr = false, netip.MustParseAddr("127.0.0.1")
	is(t, p.Explain(c).Verdict, "denied", policy.AddressNotAllowed, "web")
}

func TestExplainOfNamesAndTunnels(t *testing.T) {
	p := compile(t, with(allow("bus", "bus.example.org", "198.51.100.7"), on(9352), tagged("T", "20.50.72.0/24")))
	dns := policy.Case{At: now, Kind: policy.CaseDNS, Client: server, Dest: dest("bus.example.org", 0), QueryType: policy.TypeA, Addr: public}
	is(t, p.Explain(dns).Verdict, "allowed", policy.Matched, "bus")
	dns.Addr = netip.MustParseAddr("13.69.64.65")
	is(t, p.Explain(dns).Verdict, "denied", policy.AddressNotAllowed, "bus")
	dns.QueryType = 65
	is(t, p.Explain(dns).Verdict, "denied", policy.QueryTypeNotAllowed, "bus")
	bus := tunnel("bus.example.org", 9352)
	is(t, p.Explain(bus).Verdict, "allowed", policy.Matched, "bus")
	literal := tunnel("198.51.100.7", 9352)
	is(t, p.Explain(literal).Verdict, "denied", policy.AddressNotAllowed, "bus")
	var none *policy.Policy
	is(t, none.Explain(bus).Verdict, "denied", policy.NoPolicy, "")
}

func TestRulesKnowTheirInnerClauses(t *testing.T) {
	r := with(allow("r", "a.example.org"), methods("GET"), paths("/"), types("*"), uploads("a/b"), upgrades("websocket"),
		until(now.Add(time.Hour)))
	require.Equal(t, "methods paths types uploads upgrades", strings.Join(r.Inner(), " "))
	none := with(allow("r", "a.example.org"), upgrades())
	require.Equal(t, []string{"upgrades"}, none.Inner())
	bare := allow("r", "a.example.org")
	require.Empty(t, bare.Inner())
}
