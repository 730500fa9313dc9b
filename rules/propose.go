package rules

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"gatehouse/policy"
	"gatehouse/rules/scan"
)

// Proposal is the edit of a rules file that would carry a refused passage past
// the step at which it fell.
type Proposal struct {
	Line int    `json:"line"` // of the line to replace; 0: Text is a table to add
	Text string `json:"text"` // TOML
}

// Propose makes a proposal for a refusal, from the file it was made by. There is
// none where no edit would help, where a deny refuses, and where an address does:
// a name that leads elsewhere than its rule expects is looked into, not waved
// through.
func Propose(name string, text []byte, c policy.Case, e policy.Explanation) (Proposal, bool) {
	return NewProposer(name, text).Propose(c, e)
}

// Proposer makes many proposals for one rules file, which it reads once. One
// goroutine may use it.
type Proposer struct {
	name string
	text []byte
	read *document // nil: not yet
}

// NewProposer makes a Proposer of a file; text is not changed.
func NewProposer(name string, text []byte) *Proposer { return &Proposer{name: name, text: text} }

func (p *Proposer) document() *document {
	if p.read == nil {
		p.read = parse(p.name, p.text)
	}
	return p.read
}

// Propose is as the function of that name.
func (p *Proposer) Propose(c policy.Case, e policy.Explanation) (Proposal, bool) {
	switch v := e.Verdict; {
	case v.Allowed() && !v.Would:
		return Proposal{}, false
	case v.Reason == policy.HostNotListed && e.Nearest == nil && c.Kind != policy.CasePublish:
		return Proposal{Text: ownRule(c)}, true
	case e.Nearest == nil || e.Nearest.Rule == nil:
		return Proposal{}, false
	case e.Nearest.Rule.Pack != "":
		return Proposal{Text: ownRule(c)}, v.Reason == policy.PortNotListed
	}
	key, item := missing(c, e.Nearest.Step)
	if item == "" {
		return Proposal{}, false
	}
	if c.Kind == policy.CasePublish {
		return p.document().extend("publish", e.Nearest.Rule.Name, key, item)
	}
	return p.document().extend("allow", e.Nearest.Rule.Name, key, item)
}

// missing is the key and the item that a passage lacks at a step, as TOML.
func missing(c policy.Case, step policy.Step) (key, item string) {
	switch step {
	case policy.StepClient:
		return "clients", quote(c.Client.Unmap().String())
	case policy.StepPort:
		return "ports", fmt.Sprint(c.Dest.Port)
	case policy.StepMethod:
		return "methods", quote(c.Method)
	case policy.StepPath:
		return "paths", quote(c.Path.String())
	case policy.StepUpload:
		if !c.Upload.IsZero() {
			return "uploads", quote(c.Upload.String())
		}
	case policy.StepType:
		if !c.Type.IsZero() {
			return "types", quote(c.Type.String())
		}
	}
	return "", ""
}

// absent is what a clause means that a table does not state, where it restricts all
// the same.
var absent = map[string]string{"allow ports": "443", "publish methods": `"GET", "POST", "PUT"`}

// extend adds an item to a list of a rule: the line as it would read. Where the
// list runs over several lines, or is a table, there is no one line.
func (d *document) extend(table, rule, key, item string) (Proposal, bool) {
	tables, ok := d.root.Field(table)
	if !ok {
		return Proposal{}, false
	}
	for _, t := range tables.Value.Items {
		if name, ok := t.Field("name"); !ok || name.Value.Data != rule {
			continue
		}
		f, ok := t.Field(key)
		if !ok {
			means, restricts := absent[table+" "+key]
			if !restricts {
				return Proposal{}, false
			}
			line := d.lineOf(int(t.Start))
			return Proposal{Line: line, Text: fmt.Sprintf("%s\n%s = [%s, %s]", d.line(line), key, means, item)}, true
		}
		return d.extended(f.Value, item)
	}
	return Proposal{}, false
}

func (d *document) extended(n *scan.Node, item string) (Proposal, bool) {
	line := d.lineOf(int(n.Start))
	last := d.lineOf(int(n.End))
	at := spanOf(n)
	switch {
	case line != last || n.Kind == scan.Table || n.Kind == scan.Array && len(n.Items) == 0:
		return Proposal{}, false
	case n.Kind == scan.Array:
		at.start = int(n.Items[len(n.Items)-1].End)
		at.end = at.start
		return Proposal{line, d.replaced(at, ", "+item)}, true
	}
	return Proposal{line, d.replaced(at, "["+d.text[n.Start:n.End]+", "+item+"]")}, true
}

// ownRule is an [[allow]] for a passage, with the reason left to its author.
func ownRule(c policy.Case) string {
	if c.Kind == policy.CaseDNS {
		c.Dest.Port = 443
	}
	host := c.Dest.Host.String()
	lines := []string{"[[allow]]", "name = " + quote(ruleNameOf(host))}
	if c.Client.IsValid() && !slices.Contains([]netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}, c.Client) {
		lines = append(lines, "clients = ["+quote(c.Client.Unmap().String())+"]")
	}
	lines = append(lines, "hosts = ["+quote(host)+"]")
	if c.Dest.Port != 443 {
		lines = append(lines, fmt.Sprintf("ports = [%d]", c.Dest.Port))
	}
	return strings.Join(append(lines, `because = "say why"`), "\n")
}

// ruleNameOf is a name that a rule for a host may have.
func ruleNameOf(host string) string {
	name := strings.Map(func(r rune) rune {
		if strings.ContainsRune(nameLetters, r) {
			return r
		}
		return '-'
	}, host)
	return strings.Trim(name[:min(len(name), 64)], "-")
}
