package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// HostPattern is what a rules file lists as a host: a name, an IP literal, every
// name below a suffix ("*.example.org"), or a name with stars inside labels
// ("g*-prod-*-sb.example.org"). Its zero value matches nothing. It is kept small,
// for there may be a hundred thousand of them.
type HostPattern struct {
	text string // the name, the literal, the suffix, or the whole of a glob
	kind patternKind
	tail uint8 // glob: the length of what is behind the last label with a star
}

type patternKind uint8

const (
	patternNone patternKind = iota
	patternName
	patternLiteral
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
		if err != nil {
			return HostPattern{}, err
		}
		return exactly(h), nil
	}
	p, err := parseStar(s)
	if err != nil {
		return HostPattern{}, fmt.Errorf("host %q: %w", clip(s), err)
	}
	return p, nil
}

// exactly is the pattern that matches one host alone.
func exactly(h Host) HostPattern {
	if h.IsIP() {
		return HostPattern{kind: patternLiteral, text: h.addr.String()}
	}
	return HostPattern{kind: patternName, text: h.name}
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
		return HostPattern{kind: patternBelow, text: h.name}, nil
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
	tail := len(strings.Join(labels[last+1:], ".")) // no name is longer than 253 octets
	return HostPattern{kind: patternGlob, text: s, tail: uint8(tail)}, nil
}

// String is the pattern in its normal form.
func (p HostPattern) String() string {
	if p.kind == patternBelow {
		return "*." + p.text
	}
	return p.text
}

// Exact is the host the pattern names, if it names just one.
func (p HostPattern) Exact() (h Host, ok bool) {
	switch p.kind {
	case patternName:
		return Host{name: p.text}, true
	case patternLiteral:
		return Host{addr: netip.MustParseAddr(p.text)}, true
	}
	return Host{}, false
}

// Suffix is the suffix of a pattern of the form "*.suffix".
func (p HostPattern) Suffix() (suffix string, ok bool) {
	if p.kind == patternBelow {
		return p.text, true
	}
	return "", false
}

// suffix is what is behind the stars.
func (p HostPattern) suffix() string {
	if p.kind == patternGlob {
		return p.text[len(p.text)-int(p.tail):]
	}
	return p.text
}

// Match reports whether the pattern names h.
func (p HostPattern) Match(h Host) bool {
	switch p.kind {
	case patternName, patternLiteral:
		host, _ := p.Exact()
		return host == h
	case patternBelow:
		return isBelow(h.name, p.text)
	case patternGlob:
		return matchLabels(p.text, h.name)
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
