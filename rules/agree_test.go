package rules

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gatehouse/policy"
)

// words of random files: few, so that rules and questions meet.
var (
	someHosts     = []string{"www.example.org", "a.cdn.example.org", "*.cdn.example.org", "g*-sb.cdn.example.org", "www.groupcall.co.uk", "192.0.2.7", "x.servicebus.windows.net"}
	someAskedFor  = []string{"www.example.org", "a.cdn.example.org", "g1-sb.cdn.example.org", "www.groupcall.co.uk", "192.0.2.7", "x.servicebus.windows.net", "elsewhere.example"}
	someClients   = []string{"emerge", "devices", "10.20.0.6", "any"}
	someAskers    = []string{"10.20.0.5", "10.30.0.9", "10.20.0.6", "127.0.0.1", "10.99.0.1"}
	someTypes     = []string{"text/plain", "text/html", "application/json"}
	somePaths     = []string{"/", "/a.csv", "/results/x.exe", "/results//y", "/a%2fb"}
	someAddresses = []string{"public", "private", "10.9.0.0/16", "azure:ServiceBus", "151.101.1.1"}
)

func draw(t *rapid.T, list []string) string { return rapid.SampledFrom(list).Draw(t, "word") }

func chance(t *rapid.T, in int) bool { return rapid.IntRange(1, in).Draw(t, "chance") == 1 }

// drawList writes a list of one to three words.
func drawList(t *rapid.T, list []string) string {
	words := rapid.SliceOfNDistinct(rapid.SampledFrom(list), 1, 3, rapid.ID).Draw(t, "words")
	return `["` + strings.Join(words, `", "`) + `"]`
}

// randomClauses are clauses of an allow or deny, each on a line.
func randomClauses(t *rapid.T, deny bool) string {
	var b strings.Builder
	maybe := func(in int, line string, args ...any) {
		if chance(t, in) {
			fmt.Fprintf(&b, line+"\n", args...)
		}
	}
	fmt.Fprintf(&b, "hosts = %s\n", drawList(t, someHosts))
	maybe(2, "clients = %s", drawList(t, someClients))
	maybe(3, "ports = %s", draw(t, []string{"80", "[80, 443]", `[443, "8443-8444"]`, "443"}))
	maybe(4, "methods = %s", drawList(t, []string{"GET", "POST", "HEAD"}))
	maybe(4, "paths = %s", drawList(t, []string{"/a*", "/results/*", "*.exe"}))
	maybe(6, "types = %s", drawList(t, someTypes))
	maybe(6, `types = { "*.csv" = %s, "*" = "any" }`, drawList(t, someTypes))
	maybe(6, "uploads = %s", drawList(t, someTypes))
	maybe(5, "addresses = %s", drawList(t, someAddresses))
	maybe(6, "until = %s", draw(t, []string{"2020-01-31", "2031-01-31"}))
	if !deny {
		maybe(8, "inspect = %q", draw(t, []string{"never", "when-needed"}))
		maybe(8, "aliases = []")
	}
	return b.String()
}

// randomFile is a rules file; it need not be one that may be loaded.
func randomFile(t *rapid.T) string {
	var b strings.Builder
	b.WriteString("version = 1\n")
	if chance(t, 4) {
		b.WriteString("mode = \"monitor\"\nmonitor_until = 2031-01-31\n")
	}
	b.WriteString("[[client]]\nname = \"emerge\"\nfrom = [\"10.20.0.5\"]\n[[client]]\nname = \"devices\"\nfrom = [\"10.30.0.0/16\"]\n")
	for _, pack := range []string{"heartbeat", "xporter", "emerge-server"} {
		if chance(t, 4) {
			fmt.Fprintf(&b, "[[pack]]\nname = %q\nclients = %s\n", pack, drawList(t, someClients))
		}
	}
	for i := range rapid.IntRange(1, 4).Draw(t, "allows") {
		fmt.Fprintf(&b, "[[allow]]\nname = \"allow-%d\"\n%s", i, randomClauses(t, false))
	}
	for i := range rapid.IntRange(0, 2).Draw(t, "denies") {
		fmt.Fprintf(&b, "[[deny]]\nname = \"deny-%d\"\n%s", i, randomClauses(t, true))
	}
	if chance(t, 2) {
		b.WriteString(randomPublish(t))
	}
	return b.String()
}

// randomPublish is a way in to a server that denies may name too.
func randomPublish(t *rapid.T) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[[publish]]\nname = \"emerge\"\nlisten = \"10.20.0.1:8080\"\nto = %q\n", draw(t, []string{"http://192.0.2.7", "https://www.example.org", "http://10.9.0.1:8080"}))
	if chance(t, 2) {
		fmt.Fprintf(&b, "clients = %s\n", drawList(t, someClients))
	}
	if chance(t, 2) {
		fmt.Fprintf(&b, "paths = %s\n", drawList(t, []string{"/a*", "/results/*", "*.exe"}))
	}
	return b.String()
}

// randomTarget is a question in the form of a [[test]] line.
func randomTarget(t *rapid.T) string {
	host := draw(t, someAskedFor)
	if chance(t, 5) {
		return fmt.Sprintf("PUBLISH emerge %s %s%s", draw(t, []string{"GET", "PUT", "DELETE"}), draw(t, somePaths), draw(t, []string{"", " <- text/html", " -> text/plain"}))
	}
	switch rapid.IntRange(0, 4).Draw(t, "form") {
	case 0:
		return fmt.Sprintf("CONNECT %s:%s", host, draw(t, []string{"443", "80", "8443", "22"}))
	case 1:
		if host == "192.0.2.7" {
			return "DNS www.example.org AAAA"
		}
		return fmt.Sprintf("DNS %s%s", host, draw(t, []string{"", " TXT", " = 151.101.1.1", " = 10.9.0.1", " = 192.168.1.1"}))
	}
	target := fmt.Sprintf("%s %s://%s%s", draw(t, []string{"GET", "GET", "POST"}), draw(t, []string{"http", "https"}), host, draw(t, somePaths))
	if chance(t, 3) {
		target += " <- " + draw(t, someTypes)
	}
	if chance(t, 2) {
		target += " -> " + draw(t, someTypes)
	}
	return target
}

// Explain, the decisions that the gate asks for step by step, and the [[test]]
// lines of the file are three ways to one answer.
func TestExplainIsWhatIsDecidedForRandomFiles(t *testing.T) {
	env := testEnv(t)
	rapid.Check(t, func(t *rapid.T) {
		env := env
		env.Inspection = rapid.Bool().Draw(t, "inspection")
		text := randomFile(t)
		loaded, problems := Load("rules.toml", []byte(text), env)
		if loaded == nil {
			require.True(t, HasErrors(problems))
			return
		}
		for range 8 {
			line, client := randomTarget(t), draw(t, someAskers)
			c, err := ParseTarget(line)
			require.NoError(t, err, line)
			c.Client, c.At = netip.MustParseAddr(client), testNow
			explained, decided := loaded.Policy.Explain(c).Verdict, enforcement(loaded.Policy, c)
			require.Equal(t, verdictWords(decided), verdictWords(explained), "%s for %s in\n%s", line, client, text)
			agreeWithTests(t, env, text, loaded, c, line)
		}
	})
}

func verdictWords(v policy.Verdict) string {
	return fmt.Sprint(v.String(), " ", v.Reason, " ", v.RuleName(), " ", v.Effect)
}

// agreeWithTests adds the question to the file as a [[test]]: it passes where
// the rules, enforced and with a look inside, say so. In enforce mode that is
// what happens; where it is not, because a tunnel is not looked into, check says
// so.
func agreeWithTests(t *rapid.T, env Env, text string, loaded *Loaded, c policy.Case, line string) {
	asTest := c
	asTest.AsIfInspected = true
	allowed := loaded.Policy.Explain(asTest).Verdict.Allowed()
	happens := loaded.Policy.Explain(c).Verdict.Allowed()
	for _, want := range []string{"allow", "deny"} {
		if c.Kind == policy.CasePublish && loaded.Policy.Publication(c.Publish) == nil {
			return // check says that there is no such publish
		}
		test := fmt.Sprintf("[[test]]\nclient = %q\n%s = [%q]\n", c.Client, want, line)
		with, problems := Load("rules.toml", []byte(text+test), env)
		require.Equal(t, (want == "allow") == allowed, with != nil, "%s in\n%s%v", test, text, problems)
		if with == nil || loaded.Mode == policy.Monitor {
			continue
		}
		warned := slices.ContainsFunc(problems, func(p Problem) bool { return p.Code == codeTestInspect.ID })
		require.Equal(t, allowed != happens, warned, "%s in\n%s%v", test, text, problems)
		require.True(t, c.Secure || c.Kind == policy.CaseConnect || !warned)
	}
}

// Formatting changes no rule, is done once, and makes nothing loadable.
func TestFormattingARandomFileChangesNoRule(t *testing.T) {
	env := testEnv(t)
	rapid.Check(t, func(t *rapid.T) {
		text := randomFile(t)
		if chance(t, 3) { // a file with a slip of the pen
			at := rapid.IntRange(0, len(text)-1).Draw(t, "slip")
			text = text[:at] + draw(t, []string{"", "\"", " ", "]", "\n", "\u201c"}) + text[at+1:]
		}
		before, _ := Load("rules.toml", []byte(text), env)
		for _, repair := range []bool{false, true} {
			once, _ := Format("rules.toml", []byte(text), repair)
			if once == nil {
				require.Nil(t, before)
				continue
			}
			twice, _ := Format("rules.toml", once, repair)
			require.Equal(t, string(once), string(twice))
			after, _ := Load("rules.toml", once, env)
			if before == nil {
				require.True(t, repair || after == nil)
				continue
			}
			require.NotNil(t, after)
			require.Equal(t, ruleWords(before), ruleWords(after))
		}
	})
}

// What Changes calls narrowed permits nothing that was refused, and what it
// calls widened refuses nothing that was permitted; of a deny the other way
// round.
func TestARuleThatIsNarrowedPermitsNothingNew(t *testing.T) {
	env := testEnv(t)
	told := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		env := env
		env.Inspection = rapid.Bool().Draw(t, "inspection")
		deny := rapid.Bool().Draw(t, "deny")
		was := randomClauses(t, deny)
		old, new := oneRule(env, deny, was), oneRule(env, deny, changed(t, was, deny))
		if old == nil || new == nil {
			return
		}
		for _, change := range Changes(old, new) {
			narrowed, widened := strings.Contains(change, "is narrowed"), strings.Contains(change, "is widened")
			if !narrowed && !widened {
				continue
			}
			told[strings.Fields(change)[0]]++
			for range 30 {
				line := randomTarget(t)
				c, err := ParseTarget(line)
				require.NoError(t, err)
				c.Client, c.At, c.AsIfInspected = netip.MustParseAddr(draw(t, someAskers)), testNow, rapid.Bool().Draw(t, "inside")
				less, more := new.Policy.Explain(c).Verdict, old.Policy.Explain(c).Verdict
				if widened != deny {
					less, more = more, less
				}
				require.True(t, more.Allowed() || !less.Allowed(), "%s: %s for %s\nwas: %s", change, line, c.Client, was)
			}
		}
	})
	require.Positive(t, told["allow"])
	require.Positive(t, told["deny"])
}

// oneRule is a file with one rule to look at; a deny stands beside an allow of
// everything it could name.
func oneRule(env Env, deny bool, clauses string) *Loaded {
	text := "version = 1\n[[client]]\nname = \"emerge\"\nfrom = [\"10.20.0.5\"]\n[[client]]\nname = \"devices\"\nfrom = [\"10.30.0.0/16\"]\n"
	if deny {
		text += "[[allow]]\nname = \"all\"\nhosts = [\"*.example.org\", \"www.groupcall.co.uk\", \"192.0.2.7\"]\nports = [80, 443, 8443]\naddresses = [\"public\", \"private\"]\n[[deny]]\n"
	} else {
		text += "[[allow]]\n"
	}
	loaded, _ := Load("rules.toml", []byte(text+"name = \"r\"\n"+clauses), env)
	return loaded
}

// changed is a rule with one clause left out, or with one of another rule.
func changed(t *rapid.T, clauses string, deny bool) string {
	lines := strings.Split(strings.TrimSpace(clauses), "\n")
	other := strings.Split(strings.TrimSpace(randomClauses(t, deny)), "\n")
	i := rapid.IntRange(0, len(lines)-1).Draw(t, "line")
	key, _, _ := strings.Cut(lines[i], " ")
	lines[i] = ""
	for _, line := range other {
		if strings.HasPrefix(line, key+" ") {
			lines[i] = line
		}
	}
	if lines[i] == "" && key == "hosts" {
		return clauses
	}
	return strings.Join(lines, "\n") + "\n"
}
