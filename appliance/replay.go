package appliance

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"gatehouse/internal/flow"
	"gatehouse/policy"
)

// mostChanges bounds the kinds of passages a Replay tells apart; further ones
// are only counted.
const mostChanges = 10_000

// mostNearest bounds for how many hosts that are not listed the nearest that is
// gets looked for, the most frequent first: that is to ask every rule.
const mostNearest = 100

// Replay is what other rules would have decided about passages of the past: the
// question to ask before rules are applied. The JSON form is what "gatehouse
// replay --json" prints.
type Replay struct {
	First     time.Time `json:"first"` // of the passages that were judged
	Last      time.Time `json:"last"`
	Decisions int       `json:"decisions"` // passages judged
	// NotJudged counts those that no rules decide (bad requests, limits) or of
	// which the log does not say enough: what the first bytes of a tunnel
	// showed, an upgrade.
	NotJudged int      `json:"not_judged"`
	Unread    int      `json:"unread"` // lines that are no decisions
	Changes   []Change `json:"changes"`
	Beyond    int      `json:"beyond"` // changed passages that Changes has no place for

	policy *policy.Policy
	at     time.Time
	kinds  map[changeKey]*Change
}

// Change is one kind of passage about which the rules would decide otherwise.
type Change struct {
	Passage   string    `json:"passage"`
	Client    string    `json:"client"`
	Was       string    `json:"was"` // the verdict of then: allowed, denied, would_deny
	Now       string    `json:"now"`
	Reason    string    `json:"reason"` // of the verdict now
	Rule      string    `json:"rule"`
	Line      int       `json:"line"`
	ToPermit  string    `json:"to_permit"` // the change that would permit it; empty where it is allowed, or none would
	Unchecked []string  `json:"unchecked"` // what cannot be told: clauses inside TLS, the address of a name that was not looked up
	Count     int       `json:"count"`
	Last      time.Time `json:"last"`

	asked   policy.Case
	verdict policy.Verdict
}

type changeKey struct{ passage, client, was, now, reason, rule string }

// NewReplay makes a Replay through p, as of the moment at.
func NewReplay(p *policy.Policy, at time.Time) *Replay {
	return &Replay{policy: p, at: at, Changes: []Change{}, kinds: map[changeKey]*Change{}}
}

// Read replays a decision log in JSON. It may be called for several logs.
func (y *Replay) Read(log io.Reader) error {
	unread, err := flow.Read(log, y.Add)
	y.Unread += unread
	return err
}

// Add judges one passage anew.
func (y *Replay) Add(r *flow.Record) {
	if r.Open {
		return // it is judged when it ends
	}
	n := max(1, r.Repeats)
	c, err := caseOf(r)
	if err != nil || !byRules(r) {
		y.NotJudged += n
		return
	}
	c.At = y.at
	y.Decisions += n
	if y.First.IsZero() || r.Time.Before(y.First) {
		y.First = r.Time
	}
	if r.Time.After(y.Last) {
		y.Last = r.Time
	}
	if v := y.policy.Decide(c); passes(v) != passes(r.Verdict) {
		y.changed(r, c, v, n)
	}
}

// passes reports whether the rules permit it, in whatever mode.
func passes(v policy.Verdict) bool { return v.Allowed() && !v.Would }

// byRules reports whether r was decided by rules, and the log says all that
// they judged by.
func byRules(r *flow.Record) bool {
	switch r.Verdict.Reason {
	case policy.BadRequest, policy.LoginRequired, policy.Limit, policy.Loop, policy.HostMismatch,
		policy.NotTLS, policy.SNIMissing, policy.SNIMismatch, policy.TypeMismatch, policy.UpgradeNotListed:
		return false
	case policy.NotHTTP:
		return r.Surface == policy.HTTP // a request to a port of another protocol; not a tunnel's first bytes
	case policy.AddressNotAllowed, policy.AliasNotAllowed:
		return r.IP.IsValid() || len(r.CNAME) > 0 // else it led nowhere that the log tells of
	}
	if r.Surface == policy.DNS {
		return r.Query == "A" || r.Query == "AAAA" // no rule permits another type
	}
	return r.Surface != policy.Publish || r.Publish != "" // older logs do not say which
}

func (y *Replay) changed(r *flow.Record, asked policy.Case, v policy.Verdict, n int) {
	k := changeKey{passage(r), r.Client.String(), r.Verdict.String(), v.String(), v.Reason.String(), v.RuleName()}
	c := y.kinds[k]
	if c == nil {
		if len(y.kinds) == mostChanges {
			y.Beyond += n
			return
		}
		c = &Change{Passage: k.passage, Client: k.client, Was: k.was, Now: k.now, Reason: k.reason, Rule: k.rule, Line: v.Line(),
			Unchecked: []string{}, asked: asked, verdict: v}
		if passes(v) && !r.IP.IsValid() {
			c.Unchecked = append(c.Unchecked, "address")
		}
		y.kinds[k] = c
	}
	c.Count += n
	if r.Time.After(c.Last) {
		c.Last = r.Time
	}
}

// Done sorts what was found: refusals first, the most frequent first. Call it
// once, after the last Read or Add.
func (y *Replay) Done() {
	for _, c := range y.kinds {
		y.Changes = append(y.Changes, *c)
	}
	slices.SortFunc(y.Changes, func(a, b Change) int {
		return cmp.Or(
			compareBool(a.Now == "allowed", b.Now == "allowed"),
			cmp.Compare(b.Count, a.Count),
			cmp.Compare(a.Passage, b.Passage), cmp.Compare(a.Client, b.Client), cmp.Compare(a.Reason, b.Reason))
	})
	unlisted := 0
	for i := range y.Changes {
		c := &y.Changes[i]
		if c.verdict.Reason == policy.HostNotListed {
			if unlisted++; unlisted > mostNearest {
				continue
			}
		}
		e := y.policy.Explain(c.asked)
		c.Unchecked = append(append([]string{}, e.Unchecked...), c.Unchecked...)
		if e.Nearest != nil {
			c.ToPermit = e.Nearest.Change
		}
	}
}

// compareBool orders false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// String is the replay as a person reads it.
func (y *Replay) String() string {
	var b strings.Builder
	if y.Decisions == 0 {
		b.WriteString("no decision that rules could be asked about again\n")
	} else {
		fmt.Fprintf(&b, "%d decisions from %s to %s, judged again as of today\n", y.Decisions,
			y.First.Format(time.DateOnly), y.Last.Format(time.DateOnly))
	}
	said := ""
	for _, c := range y.Changes {
		heading := "would be refused"
		switch c.Now {
		case "allowed":
			heading = "would be allowed"
		case "would_deny":
			heading = "would be refused, but for monitor mode"
		}
		if heading != said {
			fmt.Fprintf(&b, "\n%s:\n", heading)
			said = heading
		}
		b.WriteString(c.words())
	}
	if len(y.Changes) == 0 && y.Decisions > 0 {
		b.WriteString("nothing would be decided otherwise\n")
	}
	for _, left := range []struct {
		n    int
		says string
	}{
		{y.Beyond, "more would be decided otherwise, of too many kinds to tell of each"},
		{y.NotJudged, "not judged: no rules decide it, or the log does not say what was judged"},
		{y.Unread, "not read: no line of a decision log"},
	} {
		if left.n > 0 {
			fmt.Fprintf(&b, "\n%d %s", left.n, left.says)
		}
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

func (c Change) words() string {
	var b strings.Builder
	times := "once"
	if c.Count > 1 {
		times = fmt.Sprintf("%d times, last", c.Count)
	}
	fmt.Fprintf(&b, "  %s\n      client %s, %s on %s\n", c.Passage, c.Client, times, c.Last.Format(time.DateOnly))
	said := c.Reason
	if words := why(c.Reason); words != "" {
		said += ": " + words
	}
	if c.Rule != "" {
		said += fmt.Sprintf(" (%s, line %d)", c.Rule, c.Line)
	}
	fmt.Fprintf(&b, "      %s\n", said)
	if c.ToPermit != "" {
		fmt.Fprintf(&b, "      to permit it: %s\n", c.ToPermit)
	}
	if len(c.Unchecked) > 0 {
		fmt.Fprintf(&b, "      not judged: %s\n", strings.Join(c.Unchecked, ", "))
	}
	return b.String()
}
