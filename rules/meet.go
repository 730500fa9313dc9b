package rules

import (
	"fmt"
	"strings"

	"gatehouse/policy"
)

// place is one host of an entry.
type place struct {
	*entry
	host int
}

func (p place) pattern() policy.HostPattern { return p.Hosts[p.host].HostPattern }

func (p place) ports() []policy.PortRange { return p.portsOf(p.host) }

// hostIndex finds, for a host or pattern, the entries whose hosts can name the
// same host. It walks a name's suffixes, never the whole list. Of entries that
// name a host for the same clients and ports, and say the same of it, it keeps
// the first: thousands of rules for one host must not be compared with each
// other.
type hostIndex struct {
	exact map[string][]place
	under map[string][]place // patterns, by what stands behind their last star

	// While it is made: the numbers of what entries say, and of each entry, and
	// what the places that are in say.
	sorts map[string]int
	of    map[*entry]int
	seen  map[sameness]bool
}

// index takes the entries that keep says. What says gives for an entry, besides
// its clients and ports, tells it from others of the same host.
func (c *compiler) index(keep func(*entry) bool, says func(*entry) string) *hostIndex {
	hosts := 0
	for _, e := range c.entries {
		if keep(e) {
			hosts += len(e.Hosts)
		}
	}
	x := &hostIndex{exact: make(map[string][]place, hosts), under: map[string][]place{}, sorts: map[string]int{}, of: map[*entry]int{}, seen: map[sameness]bool{}}
	for _, e := range c.entries {
		if !keep(e) {
			continue
		}
		for i, h := range e.Hosts {
			in, key := x.exact, h.String()
			if suffix := starSuffix(key); suffix != "" {
				in, key = x.under, suffix
			}
			list, p := in[key], place{e, i}
			if len(list) > 0 && c.repeats(x, list, p, says) {
				continue
			}
			in[key] = append(list, p)
		}
	}
	x.sorts, x.of, x.seen = nil, nil, nil
	return x
}

// sameness is what a place says: of places that say the same, one is enough.
type sameness struct {
	name string
	port uint16
	sort int
}

// repeats reports whether the list has a place that says the same. Most hosts
// stand in one rule alone, so nothing is noted of a place before the second one
// of its name comes.
func (c *compiler) repeats(x *hostIndex, list []place, p place, says func(*entry) string) bool {
	kindOf := func(p place) sameness {
		sort, known := x.of[p.entry]
		if !known {
			text := c.meets(p.entry) + "\x00" + says(p.entry)
			if sort, known = x.sorts[text]; !known {
				sort = len(x.sorts)
				x.sorts[text] = sort
			}
			x.of[p.entry] = sort
		}
		return sameness{p.pattern().String(), p.Hosts[p.host].Port, sort}
	}
	if len(list) == 1 {
		x.seen[kindOf(list[0])] = true
	}
	k := kindOf(p)
	if x.seen[k] {
		return true
	}
	x.seen[k] = true
	return false
}

// meets is where an entry can meet others, as the file writes it.
func (c *compiler) meets(e *entry) string {
	if e.table == nil {
		return fmt.Sprint(e.span.start, e.Ports)
	}
	clients := ""
	if n := e.table.Clients.node; n != nil {
		clients = c.doc.text[n.Start:n.End]
	}
	return clients + "\x00" + fmt.Sprint(e.Ports)
}

// above calls f with every indexed place that can name a host that h names and
// whose fixed part is not longer than that of h, until f returns false. Of two
// patterns that overlap, one is above the other, or each is above the other.
func (x *hostIndex) above(h policy.HostPattern, f func(place) bool) bool {
	name := h.String()
	suffix := starSuffix(name)
	if suffix == "" {
		for _, p := range x.exact[name] {
			if !f(p) {
				return false
			}
		}
		if host, _ := h.Exact(); host.IsIP() {
			return true
		}
		_, suffix, _ = strings.Cut(name, ".")
	}
	for ; suffix != ""; _, suffix, _ = strings.Cut(suffix, ".") {
		for _, p := range x.under[suffix] {
			if overlap(name, p.pattern().String()) && !f(p) {
				return false
			}
		}
	}
	return true
}

// pairs calls f with places of the entries that keep says, each with an indexed
// one that can name the same host and port to the same client; of two places
// that are above each other, the later one with the earlier. It leaves out the
// pairs of entries that are of no interest.
func (x *hostIndex) pairs(entries []*entry, keep func(*entry) bool, interest func(a, b *entry) bool, f func(a, b place, port uint16)) {
	for _, e := range entries {
		if !keep(e) {
			continue
		}
		for i := range e.Hosts {
			a := place{e, i}
			x.above(a.pattern(), func(b place) bool {
				if a.entry == b.entry || !interest(a.entry, b.entry) {
					return true
				}
				if a.order < b.order && len(starSuffix(a.pattern().String())) == len(starSuffix(b.pattern().String())) {
					return true
				}
				if port := portMet(a.ports(), b.ports()); port != 0 && clientsMeet(a.Clients, b.Clients) {
					f(a, b, port)
				}
				return true
			})
		}
	}
}

// overlap reports whether some name fits both patterns. A leading "*." stands
// for any number of labels, every other star for a part of one.
func overlap(a, b string) bool {
	la, lb := strings.Split(a, "."), strings.Split(b, ".")
	openA, openB := strings.HasPrefix(a, "*.") && strings.Count(a, "*") == 1, strings.HasPrefix(b, "*.") && strings.Count(b, "*") == 1
	switch {
	case len(la) == len(lb):
	case openA && len(la) < len(lb):
		la = stretch(la, len(lb))
	case openB && len(lb) < len(la):
		lb = stretch(lb, len(la))
	default:
		return false
	}
	for i := range la {
		if !starsMeet(la[i], lb[i]) {
			return false
		}
	}
	return true
}

// stretch puts more stars before a pattern of the form "*.suffix".
func stretch(labels []string, n int) []string {
	out := make([]string, 0, n)
	for range n - len(labels) {
		out = append(out, "*")
	}
	return append(out, labels...)
}

// starsMeet reports whether some text fits both patterns of stars and letters.
func starsMeet(a, b string) bool {
	if !strings.Contains(a, "*") && !strings.Contains(b, "*") {
		return a == b
	}
	// reach[j]: the part of a read so far and b[:j] can name the same text.
	reach := make([]bool, len(b)+1)
	reach[0] = true
	for j := 0; j < len(b) && b[j] == '*'; j++ {
		reach[j+1] = true
	}
	for i := range len(a) {
		next := make([]bool, len(b)+1)
		next[0] = reach[0] && a[i] == '*'
		for j := range len(b) {
			switch {
			case a[i] == '*':
				next[j+1] = reach[j+1] || next[j]
			case b[j] == '*':
				next[j+1] = reach[j+1] || next[j]
			default:
				next[j+1] = reach[j] && a[i] == b[j]
			}
		}
		reach = next
	}
	return reach[len(b)]
}
