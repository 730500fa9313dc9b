package policy

// Effect is what is to be done with a passage.
type Effect uint8

// The effects; the zero value denies.
const (
	Deny    Effect = iota
	Inspect        // only if the gate looks inside the TLS of this tunnel
	Allow
)

// String names the effect.
func (e Effect) String() string {
	switch e {
	case Allow:
		return "allow"
	case Inspect:
		return "inspect"
	}
	return "deny"
}

// Verdict is the answer to a question. Its zero value denies with NoPolicy.
type Verdict struct {
	Effect Effect
	Reason Reason
	// Rule is the rule that permitted or denied the passage or, where the
	// allows fell away, the one that got furthest. Nil where no rule speaks of
	// the host. It is immutable and must not be changed.
	Rule *Rule
	// Would is set in monitor mode where the rules would have refused: the
	// passage goes on, and Reason says why it would not have.
	Would bool
	// Protocol is what the destination port carries under the rules that fit;
	// filled in for Connect and Request.
	Protocol Protocol
	// Parent is what the live allows that fit host, client and port say about
	// parent proxies: a name, "direct", or empty where none says anything.
	Parent string
}

// Allowed reports whether the passage may go on (perhaps only if looked into).
func (v Verdict) Allowed() bool { return v.Effect != Deny }

// String is the verdict as metrics and logs spell it.
func (v Verdict) String() string {
	switch {
	case v.Effect == Deny:
		return "denied"
	case v.Would:
		return "would_deny"
	}
	return "allowed"
}

// Line is the rule's line in its file, 0 where there is no rule.
func (v Verdict) Line() int {
	if v.Rule == nil {
		return 0
	}
	return v.Rule.Line
}

// RuleName is the rule's name, empty where there is no rule.
func (v Verdict) RuleName() string {
	if v.Rule == nil {
		return ""
	}
	return v.Rule.Name
}

// denied is a refusal for reason r in which rule got furthest.
func denied(r Reason, rule *Rule) Verdict { return Verdict{Reason: r, Rule: rule} }
