package policy

import "strings"

// hostIndex finds the rules that name a host: one look-up for the host itself
// and one for each of its suffixes, whatever the number of entries.
type hostIndex struct {
	exact map[Host][]candidate
	under map[string]*underSuffix
}

// underSuffix holds what is listed below one suffix.
type underSuffix struct {
	below []candidate // "*.suffix"
	globs []globEntry // patterns with stars inside labels
}

type globEntry struct {
	glob string
	candidate
}

// candidate is a rule that names the host, and the port that its entry was
// written with (0: the rule's ports hold).
type candidate struct {
	rule int32
	port uint16
}

func newHostIndex() hostIndex {
	return hostIndex{exact: map[Host][]candidate{}, under: map[string]*underSuffix{}}
}

func (x *hostIndex) add(h ListedHost, rule int32) {
	c := candidate{rule: rule, port: h.Port}
	switch h.kind {
	case patternExact:
		x.exact[h.host] = append(x.exact[h.host], c)
	case patternBelow:
		u := x.node(h.suffix)
		u.below = append(u.below, c)
	case patternGlob:
		u := x.node(h.suffix)
		u.globs = append(u.globs, globEntry{h.glob, c})
	}
}

func (x *hostIndex) node(suffix string) *underSuffix {
	u := x.under[suffix]
	if u == nil {
		u = &underSuffix{}
		x.under[suffix] = u
	}
	return u
}

// each calls f with every candidate for the host until f returns false. A rule
// that names the host in several ways comes several times.
func (x *hostIndex) each(h Host, f func(candidate) bool) {
	for _, c := range x.exact[h] {
		if !f(c) {
			return
		}
	}
	for suffix := parent(h.name); suffix != ""; suffix = parent(suffix) {
		u := x.under[suffix]
		if u == nil {
			continue
		}
		for _, c := range u.below {
			if !f(c) {
				return
			}
		}
		for i := range u.globs {
			if matchLabels(u.globs[i].glob, h.name) && !f(u.globs[i].candidate) {
				return
			}
		}
	}
}

// parent is the name without its first label, empty where only one is left.
func parent(name string) string {
	_, rest, _ := strings.Cut(name, ".")
	return rest
}
