//go:build linux

package appliance

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"gatehouse/appliance/console"
	"gatehouse/appliance/doctor"
	"gatehouse/internal/flow"
	"gatehouse/policy"
	"gatehouse/rules"
)

// window is the appliance as the console sees it.
type window struct{ *Appliance }

var _ console.House = window{}

// State implements console.House.
func (w window) State() console.State {
	s := w.rulebook.Status()
	mode := "nothing is in force"
	if s.Loaded != nil {
		mode = s.Policy().Mode(w.Now()).String() + " mode"
	}
	return console.State{
		Ready: s.Loaded != nil, Mode: mode, Lines: w.state(), Version: w.Build.Version, Unenforced: s.unenforced(),
		Now: w.here(w.Now()), Trial: w.hereTrial(w.trial.Pending()),
	}
}

// here is a moment in the appliance's time zone.
func (w window) here(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.In(w.Config.Timezone.Zone())
}

func (w window) hereTrial(t *console.Trial) *console.Trial {
	if t == nil {
		return nil
	}
	return &console.Trial{Since: w.here(t.Since), Until: w.here(t.Until), SHA256: t.SHA256}
}

func (w window) decisionOf(r *flow.Record, p permits) console.Decision {
	d := console.Decision{
		Time: w.here(r.Time), ID: r.ID, Surface: r.Surface.String(), Client: r.Client.String(), Group: r.Group, Passage: passage(r),
		Verdict: r.Verdict.String(), Reason: r.Verdict.Reason.String(), Rule: r.Verdict.RuleName(), Line: r.Verdict.Line(),
		Permit: p.of(r),
	}
	if !passes(r.Verdict) {
		d.Why = why(d.Reason)
	}
	return d
}

// Decision implements console.House.
func (w window) Decision(ctx context.Context, id string) (console.Answer, bool) {
	r := w.find(ctx, id)
	if r == nil {
		return console.Answer{}, false
	}
	a := account(r, w.live.Policy())
	if c, err := caseOf(r); err == nil && !passes(r.Verdict) && w.live.Policy().SHA256() == r.PolicySHA {
		w.propose(&a, c, w.live.Policy().Explain(c))
	}
	return answerOf(a), true
}

func answerOf(a Account) console.Answer {
	out := console.Answer{Account: a, Text: a.String(), Verdict: a.Verdict}
	if a.Proposal != nil {
		out.Proposal = a.Proposal.Text
	}
	return out
}

// propose adds the edit of the rules in force that would carry c on.
func (w window) propose(a *Account, c policy.Case, e policy.Explanation) {
	if p, ok := rules.Propose(w.Files.RulesName(), w.rulebook.Text(), c, e); ok {
		a.Proposal = &p
	}
}

// Ask implements console.House.
func (w window) Ask(client, target string) (console.Answer, error) {
	c, err := rules.ParseTarget(target)
	if err != nil {
		return console.Answer{}, err
	}
	c.At = w.Now()
	var notes []string
	if client == "" {
		client = "127.0.0.1"
		notes = append(notes, "client 127.0.0.1 is assumed")
	}
	if c.Client, err = netip.ParseAddr(client); err != nil {
		return console.Answer{}, fmt.Errorf("%q is no IP address; write one like 10.20.0.5", client)
	}
	e := w.live.Policy().Explain(c)
	a := NewAccount(target, e)
	a.Notes = append(a.Notes, notes...)
	w.propose(&a, c, e)
	return answerOf(a), nil
}

// Packs implements console.House. A name that was answered is no passage: it
// says that a rule permits, not that anything works.
func (w window) Packs() []console.Pack {
	lately, permits := w.lately(), w.permits()
	var packs []console.Pack
	for _, r := range w.live.Policy().Rules() {
		if r.Deny || r.Pack == "" {
			continue
		}
		i := slices.IndexFunc(packs, func(p console.Pack) bool { return p.Name == r.Pack })
		if i < 0 {
			i = len(packs)
			packs = append(packs, console.Pack{Name: r.Pack})
		}
		q := console.Requirement{Rule: r.Name, Because: r.Because, State: "quiet"}
		for _, h := range r.Hosts {
			q.Hosts = append(q.Hosts, h.String())
		}
		if l := lately[r.Name]; l != nil {
			q.State = l.state
			if l.passed != nil {
				q.Passed = w.here(l.passed.Time)
			}
			if l.refused != nil {
				d := w.decisionOf(l.refused, permits)
				q.Refused = &d
			}
		}
		packs[i].Requirements = append(packs[i].Requirements, q)
	}
	return packs
}

// publishUse stands before the names of publishes among those of rules; no name holds
// a space.
const publishUse = "publish "

// recent is what became of a rule's last passages.
type recent struct {
	state           string
	passed, refused *flow.Record
	uses            int
	last            time.Time
}

// lately sorts the decisions that are kept by their rules.
func (w window) lately() map[string]*recent {
	by := map[string]*recent{}
	for _, r := range w.ring.Recent(keptDecisions) { // the newest first
		name := r.Verdict.RuleName()
		if name == "" {
			continue
		}
		if r.Surface == policy.Publish && r.Verdict.Reason != policy.DeniedByRule {
			name = publishUse + name // publishes have names of their own
		}
		l := by[name]
		if l == nil {
			l = &recent{state: "quiet"}
			by[name] = l
		}
		l.add(r)
	}
	return by
}

func (l *recent) add(r *flow.Record) {
	if passes(r.Verdict) || r.Verdict.Reason == policy.DeniedByRule {
		l.uses++
		if l.last.IsZero() {
			l.last = r.Time
		}
	}
	state := "works"
	switch {
	case !passes(r.Verdict):
		state = "refused"
	case r.Verdict.Reason.Upstream():
		state = "trouble"
	case r.Surface == policy.DNS:
		return
	}
	if l.state == "quiet" {
		l.state = state
	}
	if state == "works" && l.passed == nil {
		l.passed = r
	}
	if state == "refused" && l.refused == nil {
		l.refused = r
	}
}

// Rules implements console.House.
func (w window) Rules() console.Rules {
	s := w.rulebook.Status()
	v := console.Rules{
		File: w.Files.RulesName(), Since: w.here(s.Since), Source: string(s.Source), Text: string(w.rulebook.Text()),
		Writable: w.trial.Writable(), Unenforced: s.unenforced(), SHA256: s.Policy().SHA256(),
	}
	if present, err := w.Files.ReadRules(); err == nil {
		v.Base = digest(present)
	}
	for _, p := range s.Refused {
		v.Problems = append(v.Problems, p.String())
	}
	kept := w.ring.Recent(keptDecisions)
	if v.Passages = len(kept); v.Passages > 0 {
		oldest := w.here(kept[len(kept)-1].Time)
		v.Oldest = &oldest
	}
	if s.Loaded == nil {
		return v
	}
	lately := w.lately()
	for _, r := range s.Loaded.Review(v.File, w.Now(), 30*24*time.Hour, nil).Rules {
		u := console.RuleUse{Rule: r.Name, Line: r.Line, Remarks: r.Remarks}
		name := r.Name
		if r.Kind == "publish" {
			name = publishUse + name
		}
		if l := lately[name]; l != nil {
			u.Uses, u.Last = l.uses, w.here(l.last)
		}
		v.Used = append(v.Used, u)
	}
	return v
}

// mostReplay bounds the lines of a replay that the console shows.
const mostReplay = 500

func foremostLines(text string, most int) string {
	lines := strings.SplitAfter(text, "\n")
	if len(lines) <= most {
		return text
	}
	return strings.Join(lines[:most], "") + fmt.Sprintf("and %d lines more\n", len(lines)-most)
}

// Check implements console.House.
func (w window) Check(text []byte) console.Draft {
	loaded, problems := w.rulebook.Weigh(text)
	d := console.Draft{Loadable: loaded != nil, Problems: []string{}, Changes: []string{}}
	for _, p := range foremost(problems) {
		d.Problems = append(d.Problems, p.String())
	}
	if loaded == nil {
		return d
	}
	d.Changes = append(d.Changes, rules.Changes(w.rulebook.Status().Loaded, loaded)...)
	y := NewReplay(loaded.Policy, w.Now())
	for _, r := range w.ring.Recent(keptDecisions) {
		y.Add(r)
	}
	y.Done()
	d.Replay = foremostLines(y.String(), mostReplay)
	return d
}

// Apply implements console.House.
func (w window) Apply(by, base string, text []byte) (console.Trial, error) {
	t, err := w.trial.Apply(by, base, text)
	return *w.hereTrial(&t), err
}

// Confirm implements console.House.
func (w window) Confirm(by, draft string) error { return w.trial.Confirm(by, draft) }

// Revert implements console.House.
func (w window) Revert(by, draft string) error { return w.trial.Revert(by, draft) }

// Examine implements console.House.
func (w window) Examine(ctx context.Context, pack string, active bool) (console.Examined, error) {
	report, err := w.Appliance.Examine(ctx, doctor.Options{Pack: pack, Active: active})
	return console.Examined{At: w.here(report.At), State: string(report.State), Report: report, Text: report.String()}, err
}
