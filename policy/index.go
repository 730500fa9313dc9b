package policy

import (
	"net/netip"
	"slices"
	"strings"
)

// hostIndex finds the rules that name a host: one look-up for the host itself
// and one for each of its suffixes, whatever the number of entries.
type hostIndex struct {
	// names has the place in listed of what lists a name. Nearly all names are
	// listed by one rule, and those of one rule share their list: a hundred
	// thousand lists of their own would cost more than the names.
	names  map[string]int32
	listed [][]candidate
	shared map[candidate]int32 // the lists that have one member
	addrs  map[netip.Addr][]candidate
	suffix map[string]*underSuffix
}

// underSuffix holds what is listed below one suffix.
type underSuffix struct {
	below []candidate // "*.suffix"
	globs []globEntry // patterns with stars inside labels
}

// globEntry is one pattern and the rules that list it.
type globEntry struct {
	glob  string
	rules []candidate
}

// candidate is a rule that names the host, and the port that its entry was
// written with (0: the rule's ports hold).
type candidate struct {
	rule int32
	port uint16
}

// newHostIndex makes an index with room for so many names.
func newHostIndex(names int) hostIndex {
	return hostIndex{
		names: make(map[string]int32, names), shared: map[candidate]int32{}, addrs: map[netip.Addr][]candidate{}, suffix: map[string]*underSuffix{},
	}
}

func (x *hostIndex) add(h ListedHost, rule int32) {
	c := candidate{rule: rule, port: h.Port}
	switch {
	case h.kind == patternLiteral:
		host, _ := h.Exact()
		x.addrs[host.addr] = append(x.addrs[host.addr], c)
	case h.kind == patternName:
		x.addName(h.text, c)
	case h.kind == patternBelow:
		u := x.under(h.suffix())
		u.below = append(u.below, c)
	case h.kind == patternGlob:
		x.under(h.suffix()).addGlob(h.text, c)
	}
}

func (x *hostIndex) addName(name string, c candidate) {
	place, known := x.names[name]
	switch {
	case !known:
		x.names[name] = x.share(c)
	case len(x.listed[place]) == 1:
		x.names[name] = x.keep([]candidate{x.listed[place][0], c})
	default:
		x.listed[place] = append(x.listed[place], c)
	}
}

// share is the place of the list that has c alone.
func (x *hostIndex) share(c candidate) int32 {
	place, known := x.shared[c]
	if !known {
		place = x.keep([]candidate{c})
		x.shared[c] = place
	}
	return place
}

func (x *hostIndex) keep(list []candidate) int32 {
	x.listed = append(x.listed, list)
	return int32(len(x.listed) - 1)
}

// named are the rules that list a name as it is.
func (x *hostIndex) named(name string) []candidate {
	if place, known := x.names[name]; known {
		return x.listed[place]
	}
	return nil
}

func (x *hostIndex) under(suffix string) *underSuffix {
	u := x.suffix[suffix]
	if u == nil {
		u = &underSuffix{}
		x.suffix[suffix] = u
	}
	return u
}

func (u *underSuffix) addGlob(glob string, c candidate) {
	for i := range u.globs {
		if u.globs[i].glob == glob {
			u.globs[i].rules = append(u.globs[i].rules, c)
			return
		}
	}
	u.globs = append(u.globs, globEntry{glob, []candidate{c}})
}

// lists calls f with every list of candidates for the host until f returns
// false. A rule that names the host in several ways comes several times.
func (x *hostIndex) lists(h Host, f func([]candidate) bool) {
	if h.IsIP() {
		f(x.addrs[h.addr])
		return
	}
	if !f(x.named(h.name)) {
		return
	}
	for suffix := parent(h.name); suffix != ""; suffix = parent(suffix) {
		u := x.suffix[suffix]
		if u == nil {
			continue
		}
		if !f(u.below) {
			return
		}
		for i := range u.globs {
			if matchLabels(u.globs[i].glob, h.name) && !f(u.globs[i].rules) {
				return
			}
		}
	}
}

// each calls f with every candidate for the host until f returns false.
func (x *hostIndex) each(h Host, f func(candidate) bool) {
	x.lists(h, func(list []candidate) bool {
		for _, c := range list {
			if !f(c) {
				return false
			}
		}
		return true
	})
}

// parent is the name without its first label, empty where only one is left.
func parent(name string) string {
	if dot := strings.IndexByte(name, '.'); dot >= 0 {
		return name[dot+1:]
	}
	return ""
}

// nearby is what the index says of one host, found once for all the questions of
// a passage.
type nearby struct {
	index *hostIndex // whose word this is; nil: nobody has looked
	found [nearbyLists][]candidate
	n     int
}

// nearbyLists is how many lists nearby holds. A host that is listed in more ways
// is looked up anew each time.
const nearbyLists = 4

// look fills in nearby, unless it already tells by this index. The host is the same
// each time.
func (n *nearby) look(x *hostIndex, h Host) {
	if n.index == x {
		return
	}
	n.index, n.n = x, 0
	x.lists(h, func(list []candidate) bool {
		if len(list) == 0 {
			return true
		}
		if n.n < nearbyLists {
			n.found[n.n] = list
		}
		n.n++
		return n.n <= nearbyLists
	})
}

// each calls f with every candidate of the host until f returns false.
func (n *nearby) each(h Host, f func(candidate) bool) {
	if n.n > nearbyLists {
		n.index.each(h, f)
		return
	}
	for _, list := range n.found[:n.n] {
		for _, c := range list {
			if !f(c) {
				return
			}
		}
	}
}

// ListsInFull reports whether an allow lists the host by its whole name, not by
// a wildcard. It costs one look-up, whatever the number of names.
func (p *Policy) ListsInFull(h Host) bool {
	return p != nil && slices.ContainsFunc(p.hosts.named(h.name), func(c candidate) bool { return !p.rules[c.rule].Deny })
}
