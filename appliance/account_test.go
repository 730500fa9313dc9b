package appliance

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/flow"
	"gatehouse/policy"
	"gatehouse/rules"
)

func TestADecisionThatWasMadeIsExplainedByTheRulesItWasMadeBy(t *testing.T) {
	text := `version = 1
[[allow]]
name  = "updates"
hosts = "www.example.org"
ports = 80
methods = "GET"
types = { "*.inf" = "text/plain", "*" = "any" }
`
	loaded, problems := rules.Load("rules.toml", []byte(text), rules.Env{Now: time.Now()})
	require.NotNil(t, loaded, "%v", problems)
	p := loaded.Policy
	rule := p.Rules()[0]
	base := flow.Record{ID: "GH-0A1B2C3D", Time: time.Now(), Client: netip.MustParseAddr("127.0.0.1"), Host: "www.example.org",
		Port: 80, Protocol: policy.PlainHTTP, PolicySHA: p.SHA256()}
	for _, c := range []struct {
		name    string
		record  func(r *flow.Record)
		passage string
		steps   bool
		nearest string
		says    string
	}{
		{name: "a request whose answer was of the wrong type", steps: true, nearest: "type", passage: "GET http://www.example.org/a.inf",
			says: "denied: GET http://www.example.org/a.inf\n  reason   type-not-listed\n  id       GH-0A1B2C3D\n  rule     updates (line 2)\n",
			record: func(r *flow.Record) {
				r.Method, r.Path, r.Type = "GET", "/a.inf", "text/html"
				r.Verdict = policy.Verdict{Reason: policy.TypeNotListed, Rule: rule}
			}},
		{name: "a tunnel to another port", steps: true, nearest: "port", passage: "CONNECT www.example.org:22",
			record: func(r *flow.Record) {
				r.Surface, r.Port, r.Verdict = policy.CONNECT, 22, policy.Verdict{Reason: policy.PortNotListed, Rule: rule}
			}},
		{name: "a DNS question", steps: true, passage: "DNS www.example.com A",
			record: func(r *flow.Record) {
				r.Surface, r.Host, r.Port, r.Query, r.Verdict = policy.DNS, "www.example.com", 0, "A", policy.Verdict{Reason: policy.HostNotListed}
			}},
		{name: "what a Case cannot say is told without steps", passage: "CONNECT www.example.org:443",
			record: func(r *flow.Record) {
				r.Surface, r.Port, r.Verdict = policy.CONNECT, 443, policy.Verdict{Reason: policy.SNIMismatch, Rule: rule}
			}},
		{name: "rules that have changed since explain nothing of it", passage: "CONNECT www.example.org:22", says: "note: the rules have changed since",
			record: func(r *flow.Record) {
				r.Surface, r.Port, r.PolicySHA, r.Verdict = policy.CONNECT, 22, "older", policy.Verdict{Reason: policy.PortNotListed, Rule: rule}
			}},
		{name: "a request that could not be read", passage: "a request that was not read any further",
			record: func(r *flow.Record) { r.Host, r.Verdict = "", policy.Verdict{Reason: policy.BadRequest} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := base
			c.record(&r)
			a := account(&r, p)
			require.Equal(t, c.passage, a.Passage)
			require.Equal(t, r.Verdict.Reason.String(), a.Reason)
			require.Equal(t, "GH-0A1B2C3D", a.ID)
			require.False(t, a.Allowed())
			require.Equal(t, c.steps, len(a.Steps) > 0)
			if c.nearest == "" {
				require.Nil(t, a.Nearest)
			} else {
				require.Equal(t, c.nearest, a.Nearest.Step)
				require.NotEmpty(t, a.Nearest.Change)
			}
			require.Contains(t, a.String(), c.says)
		})
	}
}

func TestEachRefusalIsSaidInWords(t *testing.T) {
	for _, r := range policy.Reasons() {
		if r != policy.Matched && !r.Upstream() {
			require.NotEmpty(t, why(r.String()), r)
		}
	}
}
