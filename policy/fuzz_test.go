package policy_test

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gatehouse/policy"
)

func FuzzParseHost(f *testing.F) {
	for _, s := range []string{"www.example.org", "127.1", "[::1]", "münchen.example", "xn--0", "１２７.1", "a..b", "0x7f.1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, err := policy.ParseHost(s)
		requireTheSameInCapitals(t, s, h, err)
		if err != nil {
			require.True(t, h.IsZero())
			return
		}
		again, err := policy.ParseHost(h.String())
		require.NoError(t, err)
		require.Equal(t, h, again, "the normal form of a host is its own normal form")
		if !h.IsIP() {
			_, err := netip.ParseAddr(h.Name())
			require.Error(t, err, "a name is no address")
			require.Regexp(t, `^[a-z0-9_-]+(\.[a-z0-9_-]+)*$`, h.Name())
		}
	})
}

// requireTheSameInCapitals holds the quick way, which plain names in lower case go,
// to the long one.
func requireTheSameInCapitals(t require.TestingT, s string, h policy.Host, err error) {
	if strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 }) {
		return
	}
	shouted, other := policy.ParseHost(strings.ToUpper(s))
	require.Equal(t, h, shouted)
	require.Equal(t, err == nil, other == nil)
}

func TestPlainNamesAreHostsLikeAllOthers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := strings.Join(rapid.SliceOf(rapid.SampledFrom([]string{
			"a", "z", "0", "9", "-", "_", ".", ".", "xn--", "0x", "{", "/", " ", strings.Repeat("b", 61), "org",
		})).Draw(t, "pieces"), "")
		h, err := policy.ParseHost(s)
		requireTheSameInCapitals(t, s, h, err)
	})
}

// FuzzHostPattern holds patterns to a slow oracle: a regular expression in which
// a star within a label is any run without a dot.
func FuzzHostPattern(f *testing.F) {
	f.Add("*.example.org", "a.b.example.org")
	f.Add("g*-x*y-sb.example.org", "g0-xxy-sb.example.org")
	f.Add("a.*.example.org", "a..example.org")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		p, err := policy.ParseHostPattern(pattern)
		if err != nil {
			return
		}
		h, err := policy.ParseHost(name)
		if err != nil || h.IsIP() {
			return
		}
		text := p.String()
		oracle := strings.ReplaceAll(regexp.QuoteMeta(text), `\*`, `[^.]*`)
		if suffix, ok := p.Suffix(); ok {
			oracle = `.+\.` + regexp.QuoteMeta(suffix)
		}
		// A label that is a star alone still needs a character.
		oracle = strings.ReplaceAll("."+oracle, `\.[^.]*\.`, `\.[^.]+\.`)[1:]
		if strings.HasPrefix(oracle, `[^.]*\.`) {
			oracle = `[^.]+\.` + strings.TrimPrefix(oracle, `[^.]*\.`)
		}
		require.Equal(t, regexp.MustCompile(`^(?:`+oracle+`)$`).MatchString(h.Name()), p.Match(h), "%s on %s", text, h)
	})
}

func FuzzGlob(f *testing.F) {
	f.Add("*.exe", "/a/B.EXE?x")
	f.Add("/a*b**c", "/a//bc")
	f.Fuzz(func(t *testing.T, pattern, target string) {
		g, err := policy.ParseGlob(pattern)
		if err != nil {
			return
		}
		path := policy.NewPath(target)
		oracle := `(?s)^` + strings.ReplaceAll(regexp.QuoteMeta(g.String()), `\*`, `.*`) + `$`
		re, err := regexp.Compile(oracle)
		if err != nil || !isASCII(pattern) || !isASCII(path.String()) {
			return // the oracle works on characters, the rules on octets
		}
		require.Equal(t, re.MatchString(path.String()), g.Match(path), "%s on %s", g, path)
	})
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r > 127 }) < 0
}

// names, small on purpose, so that random rules meet random questions.
var (
	someHosts = []string{"a.example.org", "a.example.org", "a.example.org", "b.example.org", "x.a.example.org", "10.0.0.7"}
	somePatts = []string{"a.example.org", "b.example.org", "*.example.org", "*.a.example.org", "x*.a.example.org", "10.0.0.7"}
	somePorts = []uint16{80, 80, 80, 443, 5671, 9350}
	someAddrs = []string{"20.50.72.1", "20.50.72.2", "20.50.73.1", "20.50.72.1", "10.0.0.7", "198.51.99.1", "127.0.0.1", "2603::1", "::ffff:1.2.3.4", "64:ff9b::1432:4801"}
	someTypes = []string{"text/plain", "text/html", "application/octet-stream"}
	somePaths = []string{"/a", "/a.inf", "/b/x.inf", "/b/../c", "/x.exe", "/"}
)

func randomRule(t *rapid.T, name string) policy.Rule {
	r := allow(name, rapid.SliceOfNDistinct(rapid.SampledFrom(somePatts), 1, 3, rapid.ID[string]).Draw(t, "hosts")...)
	if rapid.IntRange(0, 3).Draw(t, "deny") == 0 {
		r = deny(name, rapid.SampledFrom(somePatts).Draw(t, "host"))
	}
	maybe := func(label string, change func(*policy.Rule)) {
		if rapid.IntRange(0, 5).Draw(t, label) == 0 {
			change(&r)
		}
	}
	pick := func(label string, list ...string) string { return rapid.SampledFrom(list).Draw(t, label) }
	if !r.Deny {
		on(rapid.SampledFrom(somePorts).Draw(t, "port"), 80)(&r)
	}
	maybe("ports", on(rapid.SampledFrom(somePorts).Draw(t, "other port")))
	maybe("url", func(r *policy.Rule) { r.Hosts[0].Port = rapid.SampledFrom(somePorts).Draw(t, "url port") })
	maybe("clients", from(pick("client", "10.20.0.5", "10.30.0.0/16")))
	maybe("protocol", speaking(rapid.SampledFrom([]policy.Protocol{policy.PlainHTTP, policy.TLS, policy.TCP, policy.UDP}).Draw(t, "speaks")))
	maybe("methods", methods(pick("method", "GET", "PUT")))
	maybe("paths", paths(pick("path", "/a*", "*.inf")))
	for i := range rapid.IntRange(0, 2).Draw(t, "entries") {
		maybe("types", types(pick("glob", "*", "*.inf", "*.INF", "/b/*", "/*"), someTypes[i:rapid.IntRange(i, 2).Draw(t, "types")]...))
	}
	maybe("uploads", uploads(pick("upload", someTypes...)))
	maybe("until", until(now.Add(time.Duration(rapid.IntRange(-1, 1).Draw(t, "until"))*time.Hour)))
	maybe("addresses", leading(pick("leading", "20.50.72.0/24", "0.0.0.0/0", "10.0.0.0/8")))
	maybe("tag", tagged("T", pick("tagged", "20.50.72.0/24", "64:ff9b::/96")))
	maybe("upgrades", upgrades("websocket"))
	if r.Deny {
		maybe("everywhere", func(r *policy.Rule) { r.Hosts = nil })
		return r
	}
	maybe("aliases", through("*.example.org"))
	maybe("no alias", through())
	maybe("no upgrade", upgrades())
	maybe("inspect", inspect(rapid.SampledFrom([]policy.InspectMode{policy.InspectNever, policy.InspectAlways}).Draw(t, "inspects")))
	return r
}

func randomSpec(t *rapid.T) policy.Spec {
	spec := policy.Spec{Inspection: rapid.Bool().Draw(t, "inspection"), Permitted: networks("10.20.0.0/16")}
	if rapid.IntRange(0, 3).Draw(t, "monitor") == 0 {
		spec.Mode = policy.Monitor
	}
	if rapid.Bool().Draw(t, "treated") {
		spec.TreatAsPublic = networks("127.0.0.0/8", "64:ff9b::/96")
	}
	for i := range rapid.IntRange(0, 5).Draw(t, "rules") {
		spec.Rules = append(spec.Rules, randomRule(t, string(rune('a'+i))))
	}
	return spec
}

func compiled(t *rapid.T, spec policy.Spec) *policy.Policy {
	p, err := policy.Compile(spec)
	require.NoError(t, err)
	return p
}

// TestExplainAndDecideAgree asks random cases of random policies both ways: once
// through Explain, once question by question as the gate does.
func TestExplainAndDecideAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := compiled(t, randomSpec(t))
		c := randomCase(t)
		e := p.Explain(c)
		want := enforce(p, c)
		require.Equal(t, []string{want.String(), want.Reason.String(), want.RuleName()},
			[]string{e.Verdict.String(), e.Verdict.Reason.String(), e.Verdict.RuleName()})
		if e.Verdict.Allowed() && !e.Verdict.Would && len(e.Steps) > 0 {
			require.NotEmpty(t, e.Steps[len(e.Steps)-1].Carried, "an allowed case has an allow carried to its end")
		}
	})
}

// TestTheOrderOfTheRulesNeverMatters turns the file over: verdict and reason
// stay, only the rule that is named may be another.
func TestTheOrderOfTheRulesNeverMatters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := randomSpec(t)
		turned := spec
		turned.Rules = slices.Clone(spec.Rules)
		slices.Reverse(turned.Rules)
		c := randomCase(t)
		before, after := compiled(t, spec).Explain(c).Verdict, compiled(t, turned).Explain(c).Verdict
		require.Equal(t, []string{before.String(), before.Reason.String()}, []string{after.String(), after.Reason.String()})
		require.Equal(t, before.Effect, after.Effect)
	})
}

// TestADenyAddedNeverPermits adds a deny to a file: no case that was refused may
// pass. One that passed may be refused for the deny, or as a bad request where
// the deny speaks of paths.
func TestADenyAddedNeverPermits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := randomSpec(t)
		extra := deny("extra", rapid.SampledFrom(somePatts).Draw(t, "extra host"))
		if rapid.Bool().Draw(t, "extra path") {
			extra = with(extra, paths("/a*"))
		}
		more := spec
		more.Rules = append(slices.Clone(spec.Rules), extra)
		c := randomCase(t)
		before, after := compiled(t, spec).Explain(c).Verdict, compiled(t, more).Explain(c).Verdict
		switch {
		case !before.Allowed():
			require.False(t, after.Allowed())
		case !after.Allowed():
			require.Contains(t, []policy.Reason{policy.DeniedByRule, policy.BadRequest}, after.Reason)
		}
	})
}

// TestAHeadIsHeldWhereAFamilyCouldRefuse holds HoldsHead to Response: a head is
// held just where the first bytes can matter.
func TestAHeadIsHeldWhereAFamilyCouldRefuse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, c := compiled(t, randomSpec(t)), randomCase(t)
		c.Secure = false
		v, permit := p.Request(policy.Request{At: now, Client: c.Client, Dest: c.Dest, Method: c.Method, Path: c.Path})
		if !v.Allowed() {
			require.False(t, p.HoldsHead(permit))
			return
		}
		text := policy.Response{At: now, Permit: permit, Type: media("text/plain"), Family: policy.FamilyText}
		program := text
		program.Family = policy.FamilyProgram
		asText, _ := p.Response(text)
		asProgram, _ := p.Response(program)
		if asText.Reason == policy.Matched {
			require.Equal(t, p.HoldsHead(permit), asProgram.Reason == policy.TypeMismatch)
		}
	})
}

// TestTypesNeedNotBeJudgedWhereNoRuleSpeaksOfThem holds JudgesTypes to Response:
// where it says no, whatever comes back is judged as the request was.
func TestTypesNeedNotBeJudgedWhereNoRuleSpeaksOfThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, c := compiled(t, randomSpec(t)), randomCase(t)
		v, permit := p.Request(policy.Request{At: now, Client: c.Client, Dest: c.Dest, Method: c.Method, Path: c.Path})
		if v.Allowed() && c.Addr.IsValid() {
			v, permit = p.Answer(policy.Answer{At: now, Permit: permit, Aliases: c.Aliases, Addr: c.Addr})
		}
		if !v.Allowed() {
			require.False(t, p.JudgesTypes(&permit))
			return
		}
		if !p.JudgesTypes(&permit) {
			after, _ := p.Response(policy.Response{At: now, Permit: permit, Type: c.Type, Family: c.Family})
			require.Equal(t, v, after)
		}
	})
}

func randomCase(t *rapid.T) policy.Case {
	c := policy.Case{
		At:     now,
		Kind:   rapid.SampledFrom([]policy.CaseKind{policy.CaseRequest, policy.CaseRequest, policy.CaseRequest, policy.CaseConnect, policy.CaseDNS}).Draw(t, "kind"),
		Client: netip.MustParseAddr(rapid.SampledFrom([]string{"10.20.0.5", "10.20.0.5", "10.20.0.6", "127.0.0.1", "10.30.0.1", "192.0.2.1"}).Draw(t, "from")),
		Dest:   dest(rapid.SampledFrom(someHosts).Draw(t, "asked"), rapid.SampledFrom(somePorts).Draw(t, "asked port")),
		Method: rapid.SampledFrom([]string{"GET", "PUT", "POST"}).Draw(t, "asked method"),
		Path:   policy.NewPath(rapid.SampledFrom(somePaths).Draw(t, "asked path")),
	}
	c.Secure = c.Dest.Port == 443
	if rapid.Bool().Draw(t, "typed") {
		c.TypeStated, c.Type = true, media(rapid.SampledFrom(someTypes).Draw(t, "asked type"))
		c.Family = rapid.SampledFrom([]policy.Family{policy.FamilyUnknown, policy.FamilyProgram}).Draw(t, "family")
	}
	if rapid.Bool().Draw(t, "addressed") {
		c.Addr = netip.MustParseAddr(rapid.SampledFrom(someAddrs).Draw(t, "addr"))
	}
	if rapid.IntRange(0, 3).Draw(t, "aliased") == 0 {
		c.Aliases = []policy.Host{host(rapid.SampledFrom([]string{"b.example.org", "a.example.org", "x.example.net"}).Draw(t, "alias"))}
	}
	if rapid.Bool().Draw(t, "sends") {
		c.UploadStated = true
		c.Upload = rapid.SampledFrom([]policy.MediaType{{}, media(someTypes[0]), media(someTypes[1])}).Draw(t, "asked upload")
	}
	c.Upgrade = rapid.SampledFrom([]string{"", "", "", "", "websocket", "h2c"}).Draw(t, "asked upgrade")
	if c.Kind == policy.CaseDNS {
		c.Dest.Port, c.QueryType = 0, rapid.SampledFrom([]uint16{0, 1, 28, 16}).Draw(t, "qtype")
	}
	return c
}

// enforce asks the five questions in the order in which the gate does.
func enforce(p *policy.Policy, c policy.Case) policy.Verdict {
	var first policy.Verdict
	var permit policy.Permit
	keep := func(v policy.Verdict, next policy.Permit) bool {
		if !first.Would || !v.Allowed() {
			first = v
		}
		permit = next
		return v.Allowed()
	}
	request := policy.Request{At: c.At, Client: c.Client, Dest: c.Dest, Secure: c.Secure, Method: c.Method, Path: c.Path,
		Body: c.UploadStated, Upload: c.Upload, Upgrade: c.Upgrade}
	switch {
	case c.Kind == policy.CaseDNS:
		keep(p.Query(policy.Query{At: c.At, Client: c.Client, Name: c.Dest.Host, Type: c.QueryType}))
	case c.Kind == policy.CaseConnect || c.Secure:
		v, next := p.Connect(policy.Connect{At: c.At, Surface: policy.CONNECT, Client: c.Client, Dest: c.Dest})
		if keep(v, next) && v.Effect == policy.Inspect && c.Kind == policy.CaseRequest {
			keep(p.Request(request))
		}
	default:
		keep(p.Request(request))
	}
	if !first.Allowed() {
		return first
	}
	addr := c.Addr
	if c.Dest.Host.IsIP() && !addr.IsValid() {
		addr = c.Dest.Host.Addr()
	}
	if addr.IsValid() || len(c.Aliases) > 0 {
		if !keep(p.Answer(policy.Answer{At: c.At, Permit: permit, Aliases: c.Aliases, Addr: addr})) {
			return first
		}
	}
	if c.TypeStated || c.Family != policy.FamilyUnknown {
		if v, next := p.Response(policy.Response{At: c.At, Permit: permit, Type: c.Type, Family: c.Family}); v.Reason != policy.NoPolicy {
			keep(v, next)
		}
	}
	return first
}
