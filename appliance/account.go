package appliance

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"gatehouse/internal/flow"
	"gatehouse/policy"
	"gatehouse/rules"
)

// Account tells a person what was, or would be, decided about one passage, and
// why. Its JSON form is what "gatehouse explain --json" prints.
type Account struct {
	Verdict string `json:"verdict"` // allowed, denied or would_deny
	Reason  string `json:"reason"`
	Rule    string `json:"rule"`
	Line    int    `json:"line"`
	Steps   []Step `json:"steps"`
	// Nearest is the allow that got furthest; null where none came near.
	Nearest *Nearest `json:"nearest"`
	// Proposal is the edit of the rules file that would carry the passage on;
	// nil where none would, or where the file is not at hand.
	Proposal  *rules.Proposal `json:"proposal,omitempty"`
	Unchecked []string        `json:"unchecked"`
	// UncheckedBecause says why clauses are unchecked; empty where none are.
	UncheckedBecause string `json:"unchecked_because,omitempty"`
	ID               string `json:"id"` // of a decision that was made; empty for a question
	Passage          string `json:"passage"`
	// Notes say what was assumed and what could not be told.
	Notes []string `json:"notes"`
}

// Step is one step of the judgement: the allows that fell away there, and those
// that were carried on.
type Step struct {
	Step    string   `json:"step"`
	Carried []string `json:"carried"`
	Fell    []string `json:"fell"`
}

// Nearest is the allow that came closest, and the change that would carry it
// past the step at which it fell.
type Nearest struct {
	Rule   string `json:"rule"`
	Line   int    `json:"line"`
	Step   string `json:"step"`
	Change string `json:"change"`
}

// NewAccount puts an explanation of a passage into words.
func NewAccount(passage string, e policy.Explanation) Account {
	a := Account{Passage: passage, Steps: []Step{}, Unchecked: []string{}, Notes: []string{}}
	a.decided(e.Verdict)
	a.explain(e)
	return a
}

func (a *Account) decided(v policy.Verdict) {
	a.Verdict, a.Reason, a.Rule, a.Line = v.String(), v.Reason.String(), v.RuleName(), v.Line()
}

func (a *Account) explain(e policy.Explanation) {
	for _, s := range e.Steps {
		a.Steps = append(a.Steps, Step{s.Step.String(), names(s.Carried), names(s.Fell)})
	}
	if n := e.Nearest; n != nil && n.Rule != nil {
		a.Nearest = &Nearest{n.Rule.Name, n.Rule.Line, n.Step.String(), n.Change}
	}
	a.Unchecked = append(a.Unchecked, e.Unchecked...)
	switch {
	case len(a.Unchecked) == 0:
	case e.Inspects:
		a.UncheckedBecause = "the host is not inspected"
	default:
		a.UncheckedBecause = "inspection is off"
	}
}

func names(list []*policy.Rule) []string {
	all := make([]string, len(list))
	for i, r := range list {
		all[i] = r.Name
	}
	return all
}

// Allowed reports whether the passage may go, perhaps only because the rules
// are being tried out (monitor mode).
func (a Account) Allowed() bool { return a.Verdict != "denied" }

// String is the account as a person reads it.
func (a Account) String() string {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	say("%s: %s", strings.ReplaceAll(a.Verdict, "_", " "), a.Passage)
	say("  reason   %s", a.Reason)
	if a.ID != "" {
		say("  id       %s", a.ID)
	}
	if a.Rule != "" {
		say("  rule     %s (line %d)", a.Rule, a.Line)
	}
	if words := why(a.Reason); words != "" {
		say("  why      %s", words)
	}
	for _, s := range a.Steps {
		say("  %-8s %s", s.Step, s.words())
		if len(s.Carried) == 0 { // the steps behind it have nothing to judge
			break
		}
	}
	if a.Nearest != nil {
		say("  nearest  %s (line %d) falls at the step %q", a.Nearest.Rule, a.Nearest.Line, a.Nearest.Step)
		say("  to permit it: %s", a.Nearest.Change)
	}
	switch p := a.Proposal; {
	case p == nil:
	case p.Line > 0:
		say("  as line %d of the rules file:\n      %s", p.Line, strings.ReplaceAll(p.Text, "\n", "\n      "))
	default:
		say("  as a rule of your own, if it is wanted:\n      %s", strings.ReplaceAll(p.Text, "\n", "\n      "))
	}
	if len(a.Unchecked) > 0 {
		say("  not checked: %s, %s", strings.Join(a.Unchecked, ", "), a.UncheckedBecause)
	}
	for _, n := range a.Notes {
		say("  note: %s", n)
	}
	return b.String()
}

// whys say a refusal in the words of somebody on the telephone.
var whys = map[policy.Reason]string{
	policy.NoPolicy:            "no rules are in force",
	policy.BadRequest:          "it is not well-formed, or its path can be read in two ways",
	policy.ClientNotListed:     "no rule that fits so far is for this client",
	policy.HostNotListed:       "no rule names this host",
	policy.PortNotListed:       "the rules of this host do not name this port",
	policy.MethodNotListed:     "the rules that fit so far do not permit this method",
	policy.PathNotListed:       "the rules that fit so far do not permit this path",
	policy.UploadNotListed:     "the rules that fit so far do not permit what is sent",
	policy.TypeNotListed:       "the rules that fit so far do not permit what comes back",
	policy.TypeMismatch:        "what comes back is not what it says it is",
	policy.UpgradeNotListed:    "the rules that fit so far do not permit this upgrade",
	policy.DeniedByRule:        "a deny refuses it, whatever else permits it",
	policy.Expired:             "the rule that would permit it has ended",
	policy.AliasNotAllowed:     "the name is an alias of one that may not be reached",
	policy.NotHTTP:             "the port does not carry plain HTTP, or this is none",
	policy.NotTLS:              "the port carries TLS, and this is none",
	policy.SNIMissing:          "the TLS names no server",
	policy.SNIMismatch:         "the TLS names another server than the one asked for",
	policy.AddressNotAllowed:   "the name leads to an address where its rules do not let it lead",
	policy.HostMismatch:        "the request names another host than its connection",
	policy.LoginRequired:       "its clients must log in",
	policy.Limit:               "there are too many at once, or too many a second",
	policy.Loop:                "it has come through this gate already",
	policy.QueryTypeNotAllowed: "only addresses (A and AAAA) are asked for",
	policy.Canary:              "programs ask by this name whether they may go round the filter",
}

func why(reason string) string {
	for r, words := range whys {
		if r.String() == reason {
			return words
		}
	}
	return ""
}

// few is the first names and how many more there are.
func few(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

func (s Step) words() string {
	switch {
	case len(s.Carried)+len(s.Fell) == 0:
		return "no allow names it"
	case len(s.Fell) == 0:
		return "still fit: " + few(s.Carried)
	case len(s.Carried) == 0:
		return "all fell away: " + few(s.Fell)
	}
	return "still fit: " + few(s.Carried) + "; fell away: " + few(s.Fell)
}

// account explains a decision that was made: what was decided then, and the
// steps, where the rules of then are still in force.
func account(r *flow.Record, p *policy.Policy) Account {
	a := Account{ID: r.ID, Passage: passage(r), Steps: []Step{}, Unchecked: []string{}, Notes: []string{
		fmt.Sprintf("decided at %s for client %s", r.Time.Format("2006-01-02 15:04:05 MST"), r.Client),
	}}
	if r.Detail != "" {
		a.Notes = append(a.Notes, r.Detail)
	}
	a.decided(r.Verdict)
	c, err := caseOf(r)
	switch {
	case p.SHA256() != r.PolicySHA:
		a.Notes = append(a.Notes, "the rules have changed since; ask again with the passage itself to see what they say now")
	case err == nil:
		if e := p.Explain(c); e.Verdict.Reason == r.Verdict.Reason {
			a.explain(e)
		}
	}
	return a
}

// passage is what was asked, in the words that explain takes.
func passage(r *flow.Record) string {
	if r.Publish != "" && r.Method != "" {
		return "PUBLISH " + r.Publish + " " + r.Method + " " + r.Path
	}
	if r.Host == "" {
		return "a request that was not read any further"
	}
	dest := net.JoinHostPort(r.Host, strconv.Itoa(int(r.Port)))
	switch r.Surface {
	case policy.DNS:
		return "DNS " + r.Host + " " + r.Query
	case policy.CONNECT, policy.Gateway:
		return "CONNECT " + dest
	}
	scheme, usual := "http://", ":80"
	if r.Protocol == policy.TLS {
		scheme, usual = "https://", ":443"
	}
	return r.Method + " " + scheme + strings.TrimSuffix(dest, usual) + r.Path
}

// caseOf is the passage of a Record as a question.
func caseOf(r *flow.Record) (policy.Case, error) {
	if r.Surface == policy.Publish {
		c := policy.Case{
			Kind: policy.CasePublish, At: r.Time, Client: r.Client, Publish: r.Publish, Method: r.Method, Path: policy.NewPath(r.Path),
			Octets: r.Sent, Addr: r.IP,
		}
		sentAndReceived(&c, r)
		return c, nil
	}
	host, err := policy.ParseHost(r.Host)
	if err != nil {
		return policy.Case{}, err
	}
	c := policy.Case{At: r.Time, Client: r.Client, Dest: policy.Dest{Host: host, Port: r.Port}, Addr: r.IP}
	for _, name := range r.CNAME {
		if alias, err := policy.ParseHost(name); err == nil {
			c.Aliases = append(c.Aliases, alias)
		}
	}
	switch r.Surface {
	case policy.DNS:
		c.Kind, c.Dest.Port = policy.CaseDNS, 0
		c.QueryType = map[string]uint16{"A": policy.TypeA, "AAAA": policy.TypeAAAA}[r.Query]
	case policy.CONNECT, policy.Gateway:
		c.Kind = policy.CaseConnect
	default:
		c.Kind, c.Method, c.Path, c.Secure = policy.CaseRequest, r.Method, policy.NewPath(r.Path), r.Protocol == policy.TLS
		sentAndReceived(&c, r)
	}
	return c, nil
}

// sentAndReceived adds the media types of a request and of its answer.
func sentAndReceived(c *policy.Case, r *flow.Record) {
	var err error
	c.Upload, err = policy.ParseMediaType(r.Upload)
	c.UploadStated = err == nil
	c.Type, _ = policy.ParseMediaType(r.Type) // one that cannot be read is none that a rule lists
	c.TypeStated = typeJudged(r)
}

// typeJudged reports whether the type that came back was judged: that of a 2xx
// answer with a body, and the one that was refused.
func typeJudged(r *flow.Record) bool {
	return r.Verdict.Reason == policy.TypeNotListed || r.Status/100 == 2 && r.Received > 0 && r.Method != "HEAD"
}
