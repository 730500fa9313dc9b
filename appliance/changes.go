package appliance

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"gatehouse/policy"
)

// changes says in words what becomes different where next follows previous:
// first the denies that go away, for they open something; then what else is
// removed, added and changed.
func changes(previous, next *policy.Policy, at time.Time) []string {
	if previous == nil {
		return []string{fmt.Sprintf("%d rules in force; before, everything was refused", len(next.Rules()))}
	}
	d := difference{before: byName(previous), after: byName(next)}
	if was, is := previous.Mode(at), next.Mode(at); was != is {
		d.say("mode: %s, was %s", is, was)
	}
	for _, r := range previous.Rules() {
		if d.after[r.Name] == nil && r.Deny {
			d.say("deny %q goes away: what it refused may now be allowed by other rules (%s)", r.Name, hostsOf(r))
		}
	}
	for _, r := range previous.Rules() {
		if d.after[r.Name] == nil && !r.Deny {
			d.say("allow %q goes away (%s)", r.Name, hostsOf(r))
		}
	}
	for _, r := range next.Rules() {
		switch was := d.before[r.Name]; {
		case was == nil:
			d.say("%s %q is new (%s)", kindOf(r), r.Name, hostsOf(r))
		case was.Deny != r.Deny:
			d.say("%q is %s now, was %s", r.Name, kindOf(r), kindOf(was))
		default:
			d.compare(was, r)
		}
	}
	if len(d.words) == 0 {
		return []string{"no rule changes"}
	}
	return d.words
}

type difference struct {
	before, after map[string]*policy.Rule
	words         []string
}

func (d *difference) say(format string, args ...any) {
	d.words = append(d.words, fmt.Sprintf(format, args...))
}

// compare names the clauses in which two rules of one name differ.
func (d *difference) compare(was, is *policy.Rule) {
	var clauses []string
	if gone, come := lost(was.Hosts, is.Hosts), lost(is.Hosts, was.Hosts); len(gone)+len(come) > 0 {
		clauses = append(clauses, "hosts"+listed(" without ", gone)+listed(" with ", come))
	}
	before, after := reflect.ValueOf(*was), reflect.ValueOf(*is)
	for i := range before.NumField() {
		switch name := before.Type().Field(i).Name; name {
		case "Name", "Line", "Hosts", "Deny":
		default:
			if !reflect.DeepEqual(before.Field(i).Interface(), after.Field(i).Interface()) {
				clauses = append(clauses, strings.ToLower(name))
			}
		}
	}
	if len(clauses) > 0 {
		d.say("%s %q changes: %s", kindOf(is), is.Name, strings.Join(clauses, ", "))
	}
}

func byName(p *policy.Policy) map[string]*policy.Rule {
	all := map[string]*policy.Rule{}
	for _, r := range p.Rules() {
		all[r.Name] = r
	}
	return all
}

func kindOf(r *policy.Rule) string {
	if r.Deny {
		return "deny"
	}
	return "allow"
}

// lost lists the hosts of a that b does not have.
func lost(a, b []policy.ListedHost) []string {
	var names []string
	for _, h := range a {
		if !slices.Contains(b, h) {
			names = append(names, h.String())
		}
	}
	return names
}

func listed(word string, names []string) string {
	if len(names) == 0 {
		return ""
	}
	return word + few(names)
}

func hostsOf(r *policy.Rule) string {
	if len(r.Hosts) == 0 {
		return "every host"
	}
	var names []string
	for _, h := range r.Hosts {
		names = append(names, h.String())
	}
	return few(names)
}

// few is the first names and how many more there are.
func few(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
