package policy

import (
	"errors"
	"fmt"
	"strings"
)

// HostPattern is what a rules file lists as a host: a name, an IP literal, every
// name below a suffix ("*.example.org"), or a name with stars inside labels
// ("g*-prod-*-sb.example.org"). Its zero value matches nothing.
type HostPattern struct {
	kind   patternKind
	host   Host   // exact
	suffix string // below: the suffix; glob: the part behind the last label with a star
	glob   string // glob: the whole pattern
}

type patternKind uint8

const (
	patternNone patternKind = iota
	patternExact
	patternBelow
	patternGlob
)

var (
	errStarAlone = errors.New("\"*\" alone would permit every name; list the names")
	errStarFirst = errors.New("a first label may begin with a star only if it is the star alone")
	errStarLast  = errors.New("a star in the last two labels would permit names of strangers")
)

// ParseHostPattern reads one entry of a rule's hosts (without scheme, port or
// path). Names are normalized as ParseHost does.
func ParseHostPattern(s string) (HostPattern, error) {
	if !strings.Contains(s, "*") {
		h, err := ParseHost(s)
		return HostPattern{kind: patternExact, host: h}, err
	}
	p, err := parseStar(s)
	if err != nil {
		return HostPattern{}, fmt.Errorf("host %q: %w", clip(s), err)
	}
	return p, nil
}

func parseStar(s string) (HostPattern, error) {
	s = strings.ToLower(strings.TrimSuffix(s, "."))
	if s == "*" {
		return HostPattern{}, errStarAlone
	}
	if suffix, ok := strings.CutPrefix(s, "*."); ok && !strings.Contains(suffix, "*") {
		h, err := parseHost(suffix)
		if err != nil {
			return HostPattern{}, err
		}
		if h.IsIP() {
			return HostPattern{}, errors.New("a star before an IP address; write a network in addresses instead")
		}
		return HostPattern{kind: patternBelow, suffix: h.name}, nil
	}
	return parseGlob(s)
}

func parseGlob(s string) (HostPattern, error) {
	labels := strings.Split(s, ".")
	if first := labels[0]; first != "*" && strings.HasPrefix(first, "*") {
		return HostPattern{}, errStarFirst
	}
	// With every star read as a letter the rest must be a name.
	if err := checkName(strings.ReplaceAll(s, "*", "x")); err != nil {
		return HostPattern{}, err
	}
	last := 0
	for i, l := range labels {
		if strings.Contains(l, "*") {
			last = i
		}
	}
	if last >= len(labels)-2 {
		return HostPattern{}, errStarLast
	}
	return HostPattern{kind: patternGlob, glob: s, suffix: strings.Join(labels[last+1:], ".")}, nil
}

// String is the pattern in its normal form.
func (p HostPattern) String() string {
	switch p.kind {
	case patternExact:
		return p.host.String()
	case patternBelow:
		return "*." + p.suffix
	case patternGlob:
		return p.glob
	}
	return ""
}

// Exact is the host the pattern names, if it names just one.
func (p HostPattern) Exact() (Host, bool) { return p.host, p.kind == patternExact }

// Suffix is the suffix of a pattern of the form "*.suffix".
func (p HostPattern) Suffix() (string, bool) { return p.suffix, p.kind == patternBelow }

// Match reports whether the pattern names h.
func (p HostPattern) Match(h Host) bool {
	switch p.kind {
	case patternExact:
		return p.host == h
	case patternBelow:
		return isBelow(h.name, p.suffix)
	case patternGlob:
		return matchLabels(p.glob, h.name)
	}
	return false
}

// isBelow reports whether name is below suffix at any depth.
func isBelow(name, suffix string) bool {
	return len(name) > len(suffix)+1 && name[len(name)-len(suffix)-1] == '.' && strings.HasSuffix(name, suffix)
}

// matchLabels matches a glob whose stars stay within their label.
func matchLabels(glob, name string) bool {
	for {
		g, gRest, gMore := strings.Cut(glob, ".")
		n, nRest, nMore := strings.Cut(name, ".")
		if n == "" || gMore != nMore || !matchStars(g, n) {
			return false
		}
		if !gMore {
			return true
		}
		glob, name = gRest, nRest
	}
}

// matchStars matches s against a pattern in which each star is any run of
// characters. It needs no memory: when the text after a star does not fit, only
// the last star has to give back (greedy match with one point of return).
func matchStars(pattern, s string) bool {
	p, i, star, mark := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && pattern[p] == s[i]:
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
