package rules

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"gatehouse/policy"
)

// publishChanges tells of ways in that come, go or change. What lets more in than
// before is told first: it opens what was closed.
func publishChanges(old, new *Loaded) (opened, rest []string) {
	before, after := publishesOf(old), publishesOf(new)
	find := func(list []Publish, name string) *Publish {
		if i := slices.IndexFunc(list, func(p Publish) bool { return p.Name == name }); i >= 0 {
			return &list[i]
		}
		return nil
	}
	for _, p := range before {
		if find(after, p.Name) == nil {
			rest = append(rest, "publish "+p.Name+" goes away")
		}
	}
	for i := range after {
		p := &after[i]
		was := find(before, p.Name)
		if was == nil {
			opened = append(opened, fmt.Sprintf("publish %s is new: %s may reach %s through %s", p.Name,
				strings.Join(new.clientNames(p.Clients), ", "), p.server(), strings.Join(words(p.Listen, netip.AddrPort.String), ", ")))
			continue
		}
		changed := differing(was.clauses(), p.clauses())
		if len(changed) == 0 {
			continue
		}
		how := "is widened"
		wider, narrower := p.reaches(was, new), was.reaches(p, old)
		switch {
		case narrower && !wider:
			how = "is narrowed"
		case wider == narrower:
			how = "changes"
		}
		line := fmt.Sprintf("publish %s %s: %s", p.Name, how, strings.Join(changed, "; "))
		if narrower && !wider {
			rest = append(rest, line)
		} else {
			opened = append(opened, line)
		}
	}
	return opened, rest
}

func publishesOf(l *Loaded) []Publish {
	if l == nil {
		return nil
	}
	return l.Publishes
}

// reaches reports whether p, of the file after, lets in all that q does, as far as
// that can be compared; where it cannot, it says no.
func (p *Publish) reaches(q *Publish, after *Loaded) bool {
	who := &policy.Rule{Clients: p.Clients}
	return p.To == q.To && p.Secure == q.Secure && (p.TLS == nil) == (q.TLS == nil) &&
		clientsReach(who, &policy.Rule{Clients: q.Clients}, after.groups) &&
		len(without(words(q.Listen, netip.AddrPort.String), words(p.Listen, netip.AddrPort.String))) == 0 &&
		holds(p.Methods, q.Methods) && p.MaxBody >= q.MaxBody &&
		holds(words(p.Paths, policy.Glob.String), words(q.Paths, policy.Glob.String))
}

// server is the server of a publish as its rules file spells it.
func (p *Publish) server() string {
	if p.Secure {
		return "https://" + p.To.String()
	}
	return "http://" + p.To.String()
}

// clauses are all clauses of a publish, always in the same order.
func (p *Publish) clauses() []clause {
	var shown []string
	if p.TLS != nil {
		shown = []string{p.TLS.Chain}
		if p.TLS.Key != p.TLS.Chain {
			shown = append(shown, p.TLS.Key)
		}
	}
	return []clause{
		{"clients", clientWords(p.Clients)},
		{"listen", words(p.Listen, netip.AddrPort.String)},
		{"to", []string{p.server()}},
		{"methods", p.Methods},
		{"paths", words(p.Paths, policy.Glob.String)},
		{"tls", shown},
		{"max_body", []string{sizeWord(p.MaxBody)}},
	}
}

// sizeWord is a number of bytes as max_body takes it.
func sizeWord(n int64) string {
	for _, u := range []struct {
		size int64
		name string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= u.size && n%u.size == 0 {
			return fmt.Sprintf("%d %s", n/u.size, u.name)
		}
	}
	return fmt.Sprint(n)
}
