package policy_test

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/require"

	"gatehouse/policy"
	"gatehouse/rules"
)

// TestCorpus asks the questions of testdata/corpus. Each file is a txtar
// archive: a comment that quotes the sentence of the language it nails down,
// a rules.toml, perhaps an environment, and questions, one a line:
//
//	client | question [with facts] | verdict reason [rule] [| nearest miss]
//
// The question has the form of a [[test]] line. Facts are those that the form
// has no words for, see the function fact. The verdict is allowed, inspect
// (only if the tunnel is looked into), would_deny or denied. A question is
// asked twice: of Explain, and question by question as the gate does.
func TestCorpus(t *testing.T) {
	files, err := filepath.Glob("testdata/corpus/*.txtar")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(name)
			require.NoError(t, err)
			require.Contains(t, string(archive.Comment), `Sentence: "`, "the comment quotes the sentence")
			readCorpus(t, archive).ask(t)
		})
	}
}

// corpus is one file of questions.
type corpus struct {
	rules     []byte
	env       rules.Env
	tags      tags
	questions []string
}

func readCorpus(t *testing.T, archive *txtar.Archive) *corpus {
	c := &corpus{tags: tags{}, env: rules.Env{Now: now, Zone: time.UTC}}
	c.env.Tags = c.tags
	for _, f := range archive.Files {
		switch f.Name {
		case "rules.toml":
			c.rules = f.Data
		case "environment":
			c.environment(t, lines(f.Data))
		case "questions":
			c.questions = lines(f.Data)
		default:
			t.Fatalf("unknown section %q", f.Name)
		}
	}
	require.NotEmpty(t, c.rules, "no rules.toml")
	require.NotEmpty(t, c.questions, "no questions")
	return c
}

// lines are the lines that say something.
func lines(text []byte) []string {
	var out []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			out = append(out, line)
		}
	}
	return out
}

func (c *corpus) environment(t *testing.T, settings []string) {
	for _, line := range settings {
		key, value, ok := strings.Cut(line, " = ")
		require.True(t, ok, "%q is no setting", line)
		tag, isTag := strings.CutPrefix(key, "tag ")
		switch {
		case isTag:
			c.tags[strings.ToLower(tag)] = networks(strings.Fields(value)...)
		case key == "now":
			c.env.Now = moment(t, value)
		case key == "inspection":
			require.Equal(t, "on", value)
			c.env.Inspection = true
		case key == "treat_as_public":
			c.env.TreatAsPublic = networks(strings.Fields(value)...)
		case key == "clients.allow":
			c.env.ClientsAllow = networks(strings.Fields(value)...)
		default:
			t.Fatalf("unknown setting %q", key)
		}
	}
}

func moment(t *testing.T, s string) time.Time {
	at, err := time.Parse(time.RFC3339, s)
	require.NoError(t, err)
	return at
}

// tags is a tag source of a few lines.
type tags map[string][]netip.Prefix

func (s tags) Prefixes(tag string) ([]netip.Prefix, bool) {
	list, ok := s[strings.ToLower(tag)]
	return list, ok
}

func (s tags) Names() []string {
	var names []string
	for name := range s {
		names = append(names, name)
	}
	return names
}

func (c *corpus) ask(t *testing.T) {
	loaded, problems := rules.Load("rules.toml", c.rules, c.env)
	require.NotNil(t, loaded, "%v", problems)
	for _, line := range c.questions {
		t.Run(line, func(t *testing.T) { c.question(t, loaded.Policy, line) })
	}
}

// question asks one line.
func (c *corpus) question(t *testing.T, p *policy.Policy, line string) {
	parts := strings.Split(line, " | ")
	require.Contains(t, []int{3, 4}, len(parts), "a line has three parts or four")
	target, facts, _ := strings.Cut(parts[1], " with ")
	var q asked
	var err error
	q.Case, err = rules.ParseTarget(strings.TrimSpace(target))
	require.NoError(t, err)
	q.Client, q.At = netip.MustParseAddr(strings.TrimSpace(parts[0])), c.env.Now
	for _, f := range strings.Fields(facts) {
		q.fact(t, f)
	}
	got := []policy.Verdict{enforced(p, q)}
	if q.opening == (policy.Opening{}) {
		e := p.Explain(q.Case)
		got = append(got, e.Verdict)
		require.Equal(t, e.Verdict, p.Decide(q.Case))
		if q.AsIfInspected {
			got = got[1:]
		}
		if len(parts) == 4 {
			require.NotNil(t, e.Nearest, "nothing came near")
			require.Equal(t, strings.TrimSpace(parts[3]), e.Nearest.Change)
		}
	}
	for _, v := range got {
		require.Equal(t, strings.TrimSpace(parts[2]), outcome(v))
	}
}

// outcome is a verdict as a question's line spells it.
func outcome(v policy.Verdict) string {
	verdict := v.String()
	if v.Effect == policy.Inspect {
		verdict = "inspect"
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s %s", verdict, v.Reason, v.RuleName()))
}

// asked is a case and what is known of a tunnel's first bytes.
type asked struct {
	policy.Case
	opening policy.Opening
}

// enforced asks as the gate does.
func enforced(p *policy.Policy, q asked) policy.Verdict {
	if q.opening == (policy.Opening{}) {
		return enforce(p, q.Case)
	}
	v, _ := p.Connect(policy.Connect{At: q.At, Surface: policy.CONNECT, Client: q.Client, Dest: q.Dest, Opening: q.opening})
	return v
}

// fact adds what the form of a question has no words for.
func (q *asked) fact(t *testing.T, f string) {
	key, value, _ := strings.Cut(f, "=")
	switch key {
	case "as-inspected": // as a [[test]] asks
		q.AsIfInspected = true
	case "at":
		q.At = moment(t, value)
	case "address":
		q.Addr = netip.MustParseAddr(value)
	case "aliases":
		for name := range strings.SplitSeq(value, ",") {
			q.Aliases = append(q.Aliases, host(name))
		}
	case "family": // what the first bytes of the body show
		i := slices.IndexFunc(families, func(known policy.Family) bool { return known.String() == value })
		require.GreaterOrEqual(t, i, 0, "unknown family %q", value)
		q.Family = families[i]
	case "opening": // what the first bytes of the tunnel are
		i := slices.IndexFunc(protocols, func(known policy.Protocol) bool { return known.String() == value })
		require.GreaterOrEqual(t, i, 0, "unknown protocol %q", value)
		q.opening.Protocol = protocols[i]
	case "sni":
		q.opening.SNI = value
	case "type": // Content-Type of the answer
		require.Equal(t, "none", value)
		q.TypeStated = true
	case "upload": // Content-Type of the request
		require.Equal(t, "none", value)
		q.UploadStated = true
	case "upgrade":
		q.Upgrade = value
	default:
		t.Fatalf("unknown fact %q", f)
	}
}

var (
	families  = []policy.Family{policy.FamilyProgram, policy.FamilyArchive, policy.FamilyText, policy.FamilyMarkup}
	protocols = []policy.Protocol{policy.PlainHTTP, policy.TLS, policy.TCP}
)
