//go:build linux

package appliance

import (
	"fmt"

	"gatehouse/appliance/console"
	"gatehouse/internal/flow"
	"gatehouse/policy"
	"gatehouse/rules"
)

// permits says of refused passages what would carry them on, by the rules that are
// in force when it is made. It is for one page, or one who looks on.
type permits struct {
	policy *policy.Policy
	from   *rules.Proposer
}

func (w window) permits() permits {
	return permits{w.live.Policy(), rules.NewProposer(w.Files.RulesName(), w.rulebook.Text())}
}

// of is nil where the passage was allowed.
func (p permits) of(r *flow.Record) *console.Permit {
	if passes(r.Verdict) {
		return nil
	}
	if p.policy.SHA256() != r.PolicySHA {
		return &console.Permit{Says: "the rules have changed since; ask what they say now"}
	}
	c, err := caseOf(r)
	if err != nil {
		return &console.Permit{Says: "no rule: what was asked for is no passage that a rule could name"}
	}
	e := p.policy.Explain(c)
	if e.Verdict.Reason != r.Verdict.Reason {
		return &console.Permit{Says: "no rule: it was refused for what was seen on the way, not for what was asked"}
	}
	permit := &console.Permit{Says: changeOf(e)}
	if found, ok := p.from.Propose(c, e); ok {
		permit.Text, permit.Line = found.Text, found.Line
	}
	return permit
}

// changeOf is the change that would carry a passage on, in words.
func changeOf(e policy.Explanation) string {
	switch {
	case e.Nearest != nil && e.Nearest.Rule != nil:
		return fmt.Sprintf("%s, in %s (line %d)", e.Nearest.Change, e.Nearest.Rule.Name, e.Nearest.Rule.Line)
	case e.Nearest != nil:
		return e.Nearest.Change
	case e.Verdict.Reason == policy.DeniedByRule:
		return fmt.Sprintf("no allow: the deny %s (line %d) would have to go", e.Verdict.RuleName(), e.Verdict.Line())
	case e.Verdict.Reason == policy.HostNotListed:
		return "a rule of your own"
	}
	return "no rule"
}
