package rules

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"gatehouse/policy"
)

// Changes tells in words what becomes different when new replaces old: first the
// mode and the denies that go away or no longer refuse all they did, for they
// open what was closed, and the ways in that come or are widened; then the rules that go, come, are widened (name more
// than before), are narrowed, or change in a way that is neither. Nil for a
// policy stands for none.
func Changes(old, new *Loaded) []string {
	before, after := rulesOf(old), rulesOf(new)
	var opened, rest []string
	if o, n := modeOf(old), modeOf(new); o != n {
		opened = append(opened, fmt.Sprintf("mode: %s, was %s", n, o))
	}
	for _, r := range before.order {
		switch now := after.byName[r.Name]; {
		case now == nil && r.Deny:
			opened = append(opened, "deny "+r.Name+" goes away: what it refused is open to the allows")
		case now == nil:
			rest = append(rest, kind(r)+" "+r.Name+" goes away")
		case r.Deny && !now.Deny:
			opened = append(opened, "deny "+r.Name+" goes away: the name is an allow now")
		}
	}
	for _, r := range after.order {
		was := before.byName[r.Name]
		if was == nil {
			rest = append(rest, kind(r)+" "+r.Name+" is new")
			continue
		}
		if was.Deny != r.Deny {
			if r.Deny {
				rest = append(rest, "allow "+r.Name+" is a deny now")
			}
			continue
		}
		if changed := differences(was, r); len(changed) > 0 {
			how := change(was, r, old, new)
			line := fmt.Sprintf("%s %s %s: %s", kind(r), r.Name, how, strings.Join(changed, "; "))
			if r.Deny && how != "is widened" {
				opened = append(opened, line)
			} else {
				rest = append(rest, line)
			}
		}
	}
	in, less := publishChanges(old, new)
	o, r := loginChanges(old, new)
	return slices.Concat(o, in, opened, r, less, rest)
}

// loginChanges tells of groups that no longer have to log in, or have to now.
func loginChanges(old, new *Loaded) (opened, closed []string) {
	if old == nil || new == nil {
		return nil, nil
	}
	had := map[string]bool{}
	for _, g := range old.groups {
		had[g.Name] = g.Logins != nil
	}
	for _, g := range new.groups {
		was, known := had[g.Name]
		switch {
		case was && g.Logins == nil:
			opened = append(opened, "client "+g.Name+" no longer has to log in")
		case known && !was && g.Logins != nil:
			closed = append(closed, "client "+g.Name+" has to log in now")
		}
	}
	return opened, closed
}

type ruleList struct {
	order  []*policy.Rule
	byName map[string]*policy.Rule
}

func rulesOf(l *Loaded) ruleList {
	list := ruleList{byName: map[string]*policy.Rule{}}
	if l == nil {
		return list
	}
	list.order = l.Policy.Rules()
	for _, r := range list.order {
		list.byName[r.Name] = r
	}
	return list
}

func modeOf(l *Loaded) string {
	if l == nil {
		return "nothing in force"
	}
	return l.Mode.String()
}

func kind(r *policy.Rule) string {
	if r.Deny {
		return "deny"
	}
	return "allow"
}

// differences are the clauses in which two rules of one name differ, in words.
func differences(a, b *policy.Rule) []string { return differing(clauses(a), clauses(b)) }

// differing words the difference of two lists of the same clauses.
func differing(a, b []clause) []string {
	var out []string
	for i, was := range a {
		now := b[i]
		if slices.Equal(was.items, now.items) {
			continue
		}
		out = append(out, was.name+" "+listChange(was.items, now.items))
	}
	return out
}

// mostListed bounds the items that one change names.
const mostListed = 5

// listChange words the change of a list by what comes and goes.
func listChange(was, now []string) string {
	var parts []string
	for _, side := range []struct {
		sign       string
		from, less []string
	}{{"+", now, was}, {"-", was, now}} {
		only := without(side.from, side.less)
		for i, item := range only {
			if i == mostListed {
				parts = append(parts, fmt.Sprintf("%s%d more", side.sign, len(only)-i))
				break
			}
			parts = append(parts, side.sign+item)
		}
	}
	if len(parts) == 0 {
		return "in another order"
	}
	return strings.Join(parts, " ")
}

// without are the items of a that b does not have.
func without(a, b []string) []string {
	has := make(map[string]bool, len(b))
	for _, s := range b {
		has[s] = true
	}
	var out []string
	for _, s := range a {
		if !has[s] {
			out = append(out, s)
		}
	}
	return out
}

// clause is one clause of a rule as words.
type clause struct {
	name  string
	items []string
}

// clauses are all clauses of a rule, always in the same order. An absent clause
// has no items; an empty list has the item "none".
func clauses(r *policy.Rule) []clause {
	until := ""
	if !r.Until.IsZero() {
		until = r.Until.Format(time.RFC3339)
	}
	return []clause{
		{"clients", clientWords(r.Clients)},
		{"hosts", words(r.Hosts, hostWord)},
		{"ports", words(r.Ports, portWord)},
		{"protocol", one(r.Protocol.String())},
		{"methods", stated(r.Methods == nil, r.Methods)},
		{"paths", words(r.Paths, policy.Glob.String)},
		{"types", words(r.Types, typeWord)},
		{"uploads", words(r.Uploads, policy.MediaType.String)},
		{"upgrades", stated(r.Upgrades == nil, r.Upgrades)},
		{"aliases", stated(r.Aliases == nil, words(r.Aliases, policy.HostPattern.String))},
		{"addresses", addressWords(r.Addresses)},
		{"inspect", one([...]string{"when-needed", "never", "always"}[r.Inspect])},
		{"via", one([...]string{"", "relay", "forward"}[r.Via])},
		{"parent", one(r.Parent)},
		{"until", one(until)},
	}
}

func one(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

func stated(absent bool, items []string) []string {
	if !absent && len(items) == 0 {
		return []string{"none"}
	}
	return items
}

func words[T any](list []T, word func(T) string) []string {
	var out []string
	for _, item := range list {
		out = append(out, word(item))
	}
	return out
}

func hostWord(h policy.ListedHost) string {
	if h.Port != 0 {
		return fmt.Sprintf("%s:%d", h.HostPattern, h.Port)
	}
	return h.String()
}

func portWord(p policy.PortRange) string {
	if p.First == p.Last {
		return fmt.Sprint(p.First)
	}
	return fmt.Sprintf("%d-%d", p.First, p.Last)
}

func typeWord(t policy.TypeEntry) string {
	if t.Any {
		return t.Glob.String() + " = any"
	}
	return t.Glob.String() + " = " + strings.Join(words(t.Types, policy.MediaType.String), ", ")
}

func clientWords(c policy.Clients) []string {
	if c.Any {
		return []string{"any"}
	}
	var out []string
	for _, p := range c.Prefixes {
		out = append(out, p.String())
	}
	return out
}

// addressWords names the tags with the number of their prefixes, so that an
// import of new service tags shows.
func addressWords(a policy.Addresses) []string {
	var out []string
	if a.Default || a.Public {
		out = append(out, "public")
	}
	for _, p := range a.Prefixes {
		out = append(out, p.String())
	}
	for _, t := range a.Tags {
		out = append(out, fmt.Sprintf("azure:%s (%d prefixes)", t.Name, len(t.Prefixes)))
	}
	return out
}
