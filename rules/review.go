package rules

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"gatehouse/policy"
)

// Review is who may go where, who wanted it and why, for the people who must
// answer for it once a year.
type Review struct {
	File  string
	At    time.Time
	Mode  policy.Mode
	Rules []Reviewed // in the order of the file, publishes last
	Book  *Book      // nil: no decision log was read
}

// Reviewed is one rule of a Review, in words.
type Reviewed struct {
	Kind, Name, Pack    string // Kind: allow, deny or publish
	Line                int
	Clients, Hosts, How []string // How: every further clause
	Owner, Because      string
	LastDay             string // empty: for ever
	// Remarks are what somebody should look at: ended, ends soon, no owner, no
	// reason, never used.
	Remarks []string
	Uses    int // decisions of the book that the rule permitted or refused
	LastUse time.Time
}

// Review looks at the rules as of a moment; a rule that ends within soon is
// remarked on. book may be nil.
func (l *Loaded) Review(file string, at time.Time, soon time.Duration, book *Book) Review {
	v := Review{File: file, At: at, Mode: l.Policy.Mode(at), Book: book}
	for _, r := range l.Policy.Rules() {
		rv := Reviewed{
			Kind: kind(r), Name: r.Name, Pack: r.Pack, Line: r.Line,
			Clients: l.clientNames(r.Clients), Owner: r.Owner, Because: r.Because,
		}
		for _, c := range clauses(r) {
			switch {
			case c.name == "hosts":
				rv.Hosts = c.items
			case c.name == "inspect" && r.Inspect == policy.InspectWhenNeeded, c.name == "clients", c.name == "until":
			case len(c.items) > 0:
				rv.How = append(rv.How, c.name+" "+strings.Join(c.items, ", "))
			}
		}
		rv.remark(r, at, soon)
		if book != nil {
			rv.used(book)
		}
		v.Rules = append(v.Rules, rv)
	}
	for i := range l.Publishes {
		v.Rules = append(v.Rules, l.reviewed(&l.Publishes[i], book))
	}
	return v
}

// reviewed is a way in, in words.
func (l *Loaded) reviewed(p *Publish, book *Book) Reviewed {
	rv := Reviewed{Kind: "publish", Name: p.Name, Line: p.Line, Clients: l.clientNames(p.Clients), Hosts: []string{p.server()}}
	for _, c := range p.clauses() {
		if c.name != "clients" && c.name != "to" && len(c.items) > 0 {
			rv.How = append(rv.How, c.name+" "+strings.Join(c.items, ", "))
		}
	}
	if book != nil {
		rv.used(book)
	}
	return rv
}

func (rv *Reviewed) remark(r *policy.Rule, at time.Time, soon time.Duration) {
	if !r.Until.IsZero() {
		rv.LastDay = r.Until.Add(-1).Format(time.DateOnly)
		switch left := r.Until.Sub(at); {
		case left <= 0:
			rv.Remarks = append(rv.Remarks, "ended on "+rv.LastDay)
		case left <= soon:
			rv.Remarks = append(rv.Remarks, "ends on "+rv.LastDay)
		}
	}
	if r.Pack != "" {
		return // a pack's rules are the vendor's, each with its sentence
	}
	if r.Owner == "" {
		rv.Remarks = append(rv.Remarks, "names no owner")
	}
	if r.Because == "" {
		rv.Remarks = append(rv.Remarks, "gives no reason")
	}
}

func (rv *Reviewed) used(book *Book) {
	u := book.uses[bookKey(rv.Kind == "publish", rv.Name)]
	rv.Uses, rv.LastUse = u.count, u.last
	if rv.Uses == 0 && book.Decisions > 0 {
		rv.Remarks = append(rv.Remarks, fmt.Sprintf("not used between %s and %s", book.First.Format(time.DateOnly), book.Last.Format(time.DateOnly)))
	}
}

// clientNames names clients by their groups where the whole group is meant.
func (l *Loaded) clientNames(c policy.Clients) []string {
	if c.Any {
		return []string{"every permitted client"}
	}
	left := slices.Clone(c.Prefixes)
	var names []string
	for _, g := range l.groups {
		whole := len(g.From) > 0 && !slices.ContainsFunc(g.From, func(p netip.Prefix) bool { return !slices.Contains(c.Prefixes, p) })
		if whole {
			names = append(names, g.Name)
			left = slices.DeleteFunc(left, func(p netip.Prefix) bool { return slices.Contains(g.From, p) })
		}
	}
	for _, p := range left {
		if p.IsSingleIP() {
			names = append(names, p.Addr().String())
		} else {
			names = append(names, p.String())
		}
	}
	return names
}

// Book is what decision logs say about the use of rules.
type Book struct {
	First, Last time.Time
	Decisions   int            // lines read
	Unread      int            // lines that are no decisions
	uses        map[string]use // by bookKey
}

// bookKey tells a rule from a publish of the same name: they have names of their
// own. No name holds a space.
func bookKey(publish bool, name string) string {
	if publish {
		return "publish " + name
	}
	return name
}

type use struct {
	count int
	last  time.Time
}

// longestDecision bounds a line of the log; the fields in it are capped, so a
// longer one is none.
const longestDecision = 1 << 20

// Read adds a decision log (one JSON object per line). A passage that was told of
// while it was open is counted when it ends.
func (b *Book) Read(r io.Reader) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), longestDecision)
	for lines.Scan() {
		if len(strings.TrimSpace(lines.Text())) > 0 {
			b.add(lines.Bytes())
		}
	}
	return lines.Err()
}

func (b *Book) add(line []byte) {
	var d struct {
		Time    time.Time `json:"ts"`
		Surface string    `json:"surface"`
		Rule    string    `json:"rule"`
		Verdict string    `json:"verdict"`
		Reason  string    `json:"reason"`
		End     string    `json:"end"`
	}
	if json.Unmarshal(line, &d) != nil || d.Time.IsZero() || d.Verdict == "" {
		b.Unread++
		return
	}
	if d.End == "open" {
		return
	}
	b.Decisions++
	if b.First.IsZero() || d.Time.Before(b.First) {
		b.First = d.Time
	}
	if d.Time.After(b.Last) {
		b.Last = d.Time
	}
	if d.Rule == "" || d.Verdict != "allowed" && d.Reason != policy.DeniedByRule.String() {
		return // it came nearest, and permitted nothing
	}
	if b.uses == nil {
		b.uses = map[string]use{}
	}
	key := bookKey(d.Surface == policy.Publish.String() && d.Reason != policy.DeniedByRule.String(), d.Rule)
	u := b.uses[key]
	u.count++
	if d.Time.After(u.last) {
		u.last = d.Time
	}
	b.uses[key] = u
}
