package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/policy"
)

func TestTypesOfAnswers(t *testing.T) {
	p := compile(t,
		// The vendor's update host: three paths bind, all else may be anything.
		with(allow("updates", "www.example.org"), on(80), methods("GET", "POST"),
			types("*.inf", "text/plain"), types("*.exe", "application/octet-stream"), types("*")),
		with(allow("free", "www.example.org"), on(80), methods("GET", "PUT")),
		with(allow("list", "list.example.org"), on(80), types("*", "text/xml", "application/octet-stream")),
		with(allow("list-too", "list.example.org"), on(80), types("*", "text/csv")),
		with(allow("table", "table.example.org"), on(80), types("/data/*", "text/csv"), types("*.csv", "text/csv", "text/plain")),
		with(allow("closed", "closed.example.org"), on(80), types("*.csv", "text/csv")),
		with(allow("none", "none.example.org"), on(80)),
		with(allow("adds", "adds.example.org"), on(80), types("*.bin", "text/plain")),
		with(allow("up", "adds.example.org"), on(80), methods("PURGE"), types("*.BIN", "text/css")),
	)
	type q struct {
		method, host, path, mediaType string
		family                        policy.Family
	}
	for name, c := range map[string]struct {
		ask    q
		reason policy.Reason
	}{
		"the bound type":                                   {q{"GET", "www.example.org", "/a/update.inf", "text/plain", policy.FamilyText}, policy.Matched},
		"a bound path with another type":                   {q{"GET", "www.example.org", "/a/update.inf", "text/html", policy.FamilyMarkup}, policy.TypeNotListed},
		"a rule without types does not free a bound path":  {q{"PUT", "www.example.org", "/a/update.inf", "text/html", policy.FamilyUnknown}, policy.TypeNotListed},
		"case and parameters are ignored":                  {q{"GET", "www.example.org", "/A/UPDATE.INF?x=y", "Text/Plain; charset=utf-8", policy.FamilyText}, policy.Matched},
		"an encoded letter is the letter":                  {q{"GET", "www.example.org", "/setup%2eexe", "text/html", policy.FamilyUnknown}, policy.TypeNotListed},
		"a missing type on a bound path":                   {q{"GET", "www.example.org", "/update.inf", "", policy.FamilyUnknown}, policy.TypeNotListed},
		"other paths may be anything":                      {q{"GET", "www.example.org", "/index.html", "text/html", policy.FamilyMarkup}, policy.Matched},
		"a program as text/plain on a bound path":          {q{"GET", "www.example.org", "/update.inf", "text/plain", policy.FamilyProgram}, policy.TypeMismatch},
		"a program as octet-stream":                        {q{"GET", "www.example.org", "/setup.exe", "application/octet-stream", policy.FamilyProgram}, policy.Matched},
		"one plain list of two is enough":                  {q{"GET", "list.example.org", "/x", "text/csv", policy.FamilyText}, policy.Matched},
		"a type in neither list":                           {q{"GET", "list.example.org", "/x", "text/html", policy.FamilyMarkup}, policy.TypeNotListed},
		"a program as text/xml where all rules have types": {q{"GET", "list.example.org", "/x", "text/xml", policy.FamilyProgram}, policy.TypeMismatch},
		"different globs must each agree":                  {q{"GET", "table.example.org", "/data/x.csv", "text/plain", policy.FamilyText}, policy.TypeNotListed},
		"different globs that agree":                       {q{"GET", "table.example.org", "/data/x.csv", "text/csv", policy.FamilyText}, policy.Matched},
		"a table without * permits no other path":          {q{"GET", "closed.example.org", "/x.html", "text/html", policy.FamilyMarkup}, policy.PathNotListed},
		"no types clause at all: anything goes":            {q{"GET", "none.example.org", "/x", "", policy.FamilyProgram}, policy.Matched},
		"no types clause in force: no contradiction":       {q{"GET", "none.example.org", "/x", "text/plain", policy.FamilyProgram}, policy.Matched},
		"the same glob in two rules adds up":               {q{"GET", "adds.example.org", "/x.bin", "text/css", policy.FamilyText}, policy.Matched},
	} {
		t.Run(name, func(t *testing.T) {
			v := fetch(t, p, request(c.ask.method, c.ask.host, 80, c.ask.path), c.ask.mediaType, c.ask.family)
			require.Equal(t, c.reason.String(), v.Reason.String())
		})
	}
}

func TestTwoContentTypesDeclareNone(t *testing.T) {
	require.True(t, policy.DeclaredType([]string{"text/plain", "text/plain"}).IsZero())
	require.True(t, policy.DeclaredType([]string{"text/plain, text/html"}).IsZero())
	require.True(t, policy.DeclaredType([]string{"text/plain; charset=utf-8, text/html"}).IsZero())
	require.True(t, policy.DeclaredType([]string{`text/plain; a="\"", text/html`}).IsZero())
	require.Equal(t, "text/plain", policy.DeclaredType([]string{`text/plain; a="\","`}).String())
	require.True(t, policy.DeclaredType(nil).IsZero())
	require.Equal(t, "text/plain", policy.DeclaredType([]string{" TEXT/plain ;x"}).String())
}

func TestAHeadIsHeldOnlyWhereATypesClauseIsInForce(t *testing.T) {
	p := compile(t,
		with(allow("bus", "bus.example.org"), on(80), methods("GET", "POST")),
		with(allow("updates", "www.example.org"), on(80), types("*.inf", "text/plain"), types("*")),
		with(allow("free", "www.example.org"), on(80)),
		with(allow("list", "list.example.org"), on(80), types("*", "text/xml")),
	)
	for target, holds := range map[string]bool{
		"bus.example.org/x": false, "www.example.org/x": false, "www.example.org/x.inf": true, "list.example.org/x": true,
	} {
		h, path, _ := cut(target)
		_, permit := p.Request(request("GET", h, 80, path))
		require.Equal(t, holds, p.HoldsHead(permit), target)
	}
	require.False(t, p.HoldsHead(policy.Permit{}))
}

func cut(target string) (h, path string, ok bool) {
	for i := range len(target) {
		if target[i] == '/' {
			return target[:i], target[i:], true
		}
	}
	return target, "/", false
}

func TestAnOddPathIsRefusedOnlyWhereARuleSpeaksOfPaths(t *testing.T) {
	p := compile(t,
		with(allow("free", "free.example.org"), on(80)),
		with(allow("list", "list.example.org"), on(80), types("*", "text/xml")),
		with(allow("paths", "paths.example.org"), on(80), paths("/a/*")),
		with(allow("table", "table.example.org"), on(80), types("*.exe", "text/plain"), types("*")),
	)
	for _, odd := range []string{"/a%2fb", "/a%5Cb", "/a%00b", "/a%25b", "/a/../b", "/a/./b", "/a;v=1/b", `/a\b`, "/a::b",
		"/a./b", "/a%20/b", "/a%2e%2e/b/..", "/x.exe.", "/x.exe%20", "/x%zz", "/x.exe::$DATA"} {
		is(t, ask(p, request("GET", "free.example.org", 80, odd)), "allowed", policy.Matched, "free")
		is(t, ask(p, request("GET", "list.example.org", 80, odd)), "allowed", policy.Matched, "list")
		is(t, ask(p, request("GET", "paths.example.org", 80, odd)), "denied", policy.BadRequest, "paths")
		is(t, ask(p, request("GET", "table.example.org", 80, odd)), "denied", policy.BadRequest, "table")
	}
	is(t, ask(p, request("GET", "paths.example.org", 80, "//A//b?../x;y")), "allowed", policy.Matched, "paths")
}

func TestTheFirstRuleThatSpeaksOfPathsIsNamed(t *testing.T) {
	p := compile(t,
		with(deny("others"), from("10.30.0.9"), paths("/x/*")),
		with(deny("everywhere"), from("10.20.0.5"), paths("/x/*")),
		with(allow("wide", "*.example.org"), on(80), paths("/a/*")),
		with(allow("exact", "www.example.org"), on(80), paths("/a/*")),
	)
	is(t, ask(p, request("GET", "www.example.org", 80, "/a/../b")), "denied", policy.BadRequest, "everywhere")
	p = compile(t,
		with(allow("exact", "www.example.org"), on(80), paths("/a/*")),
		with(allow("wide", "*.example.org"), on(80), paths("/a/*")),
	)
	is(t, ask(p, request("GET", "www.example.org", 80, "/a/../b")), "denied", policy.BadRequest, "exact")
}

func TestAPathNobodyFilledInIsOdd(t *testing.T) {
	p := compile(t, with(allow("web", "www.example.org"), on(80)), with(deny("admin", "www.example.org"), paths("/admin/*")))
	r := request("GET", "www.example.org", 80, "/")
	r.Path = policy.Path{}
	is(t, ask(p, r), "denied", policy.BadRequest, "admin")
	require.Empty(t, policy.NewPath("").Odd())
}

func TestPathsAreComparedWithoutCase(t *testing.T) {
	g := glob("/Prüfung/*")
	for target, want := range map[string]bool{
		"/prüfung/x": true, "/PRÜFUNG/x": true, "/pr%C3%9Cfung/x": true, "/pr%c3%bcfung/x": true,
		"/prufung/x": false, "/pr%DCfung/x": false, "/pr%FCfung/x": false,
	} {
		require.Equal(t, want, g.Match(policy.NewPath(target)), target)
	}
	// No letter outside ASCII becomes one inside, and no broken octet another.
	for glb, target := range map[string]string{"/k": "/%E2%84%AA", "/i": "/%C4%B0", "/s": "/%C5%BF", "/\xff": "/%FE", "/�": "/%FE"} {
		require.False(t, glob(glb).Match(policy.NewPath(target)), target)
	}
	require.True(t, glob("/\xff").Match(policy.NewPath("/%FF")))
}

func TestUpgrades(t *testing.T) {
	p := compile(t,
		with(allow("plain", "plain.example.org"), on(80)),
		with(allow("inner", "inner.example.org"), on(80), methods("GET")),
		with(allow("says", "says.example.org"), on(80), methods("GET"), upgrades("websocket")),
		with(allow("none", "none.example.org"), on(80), upgrades()),
	)
	for host, token := range map[string]map[string]policy.Reason{
		"plain.example.org": {"websocket": policy.Matched, "h2c": policy.UpgradeNotListed},
		"inner.example.org": {"websocket": policy.UpgradeNotListed, "": policy.Matched},
		"says.example.org":  {"websocket": policy.Matched},
		"none.example.org":  {"websocket": policy.UpgradeNotListed},
	} {
		for upgrade, reason := range token {
			r := request("GET", host, 80, "/")
			r.Upgrade = upgrade
			require.Equal(t, reason, ask(p, r).Reason, host+" "+upgrade)
		}
	}
}

func TestInspection(t *testing.T) {
	rules := []policy.Rule{
		with(allow("inner", "inner.example.org"), methods("GET")),
		allow("outer", "outer.example.org"),
		with(allow("always", "always.example.org"), inspect(policy.InspectAlways)),
		with(allow("never", "never.example.org"), methods("GET"), inspect(policy.InspectNever)),
		with(allow("bus", "x.servicebus.windows.net"), methods("GET"), inspect(policy.InspectAlways)),
		with(allow("mixed", "mixed.example.org"), methods("GET"), inspect(policy.InspectAlways)),
		with(allow("no-upgrade", "no-upgrade.example.org"), upgrades()),
		with(allow("mixed-never", "mixed.example.org"), inspect(policy.InspectNever)),
	}
	off, on := compile(t, rules...), compileSpec(t, policy.Spec{Inspection: true, Rules: rules})
	for name, effect := range map[string]policy.Effect{
		"inner": policy.Inspect, "no-upgrade": policy.Inspect, "outer": policy.Allow, "always": policy.Inspect,
		"never": policy.Allow, "mixed": policy.Allow,
	} {
		require.Equal(t, effect, connect(on, server, name+".example.org", 443).Effect, name)
		require.Equal(t, policy.Allow, connect(off, server, name+".example.org", 443).Effect, name)
	}
	require.Equal(t, policy.Allow, connect(on, server, "x.servicebus.windows.net", 443).Effect)
	secure := request("POST", "inner.example.org", 443, "/")
	secure.Secure = true
	is(t, ask(on, secure), "denied", policy.MethodNotListed, "inner")
}

func TestAThousandRulesOfOneHostBindAsTwoDo(t *testing.T) {
	plain, html := "text/plain", "text/html"
	var same, different []policy.Rule
	for i := range 3000 {
		want := plain
		if i == 2999 {
			want = html
		}
		same = append(same, with(allow(fmt.Sprint("same-", i), "www.example.org"), on(80), types("*.exe", want)))
		different = append(different, with(allow(fmt.Sprint("other-", i), "www.example.org"), on(80),
			types(strings.Repeat("*", i+1)+".exe", want)))
	}
	exe := request("GET", "www.example.org", 80, "/x.exe")
	p := compile(t, same...)
	is(t, fetch(t, p, exe, html, policy.FamilyUnknown), "allowed", policy.Matched, "same-0")
	is(t, fetch(t, p, exe, "text/css", policy.FamilyUnknown), "denied", policy.TypeNotListed, "same-0")

	p = compile(t, different...)
	is(t, fetch(t, p, exe, plain, policy.FamilyUnknown), "denied", policy.TypeNotListed, "other-2999")
	is(t, fetch(t, p, exe, html, policy.FamilyUnknown), "denied", policy.TypeNotListed, "other-0")
	other := request("GET", "www.example.org", 80, "/x.txt")
	is(t, fetch(t, p, other, html, policy.FamilyUnknown), "denied", policy.PathNotListed, "other-0")
	_, permit := p.Request(exe)
	require.Zero(t, testing.AllocsPerRun(20, func() { p.Response(policy.Response{At: now, Permit: permit, Type: plainText}) }))
}

func TestWhetherTypesAreJudged(t *testing.T) {
	plain := with(allow("plain", "www.example.org"), on(80))
	for name, c := range map[string]struct {
		rules []policy.Rule
		judge bool
	}{
		"no rule speaks of them":                {[]policy.Rule{plain}, false},
		"one of another host does":              {[]policy.Rule{plain, with(allow("other", "other.example.org"), on(80), types("*", "text/css"))}, false},
		"the allow does":                        {[]policy.Rule{with(plain, types("*", "text/css"))}, true},
		"another allow of the host does":        {[]policy.Rule{plain, with(allow("typed", "*.example.org"), on(443), types("/x/*", "text/css"))}, true},
		"a deny of the host does":               {[]policy.Rule{plain, with(deny("no", "www.example.org"), types("*", "text/css"))}, true},
		"a deny that names no host at all does": {[]policy.Rule{plain, with(deny("no"), types("*", "text/css"))}, true},
	} {
		t.Run(name, func(t *testing.T) {
			p := compile(t, c.rules...)
			v, permit := p.Request(request("GET", "www.example.org", 80, "/x"))
			require.True(t, v.Allowed())
			require.Equal(t, c.judge, p.JudgesTypes(&permit))
			v, permit = p.Answer(policy.Answer{At: now, Permit: permit, Addr: public})
			require.True(t, v.Allowed())
			require.Equal(t, c.judge, p.JudgesTypes(&permit))
			require.True(t, p.JudgesTypes(&permit) || !p.HoldsHead(permit), "where types are not judged no head is held")
			require.False(t, compile(t, c.rules...).JudgesTypes(&permit), "the permit is of another policy")
		})
	}
}
