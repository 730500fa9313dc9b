package rules

import (
	"maps"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// wellKnown are names that the packs and Microsoft's documents use; whoever
// lists a name one letter off means one of them.
var wellKnown = []string{
	"groupcall.co.uk", "groupcall.com", "servicebus.windows.net", "windows.net", "windowsupdate.com",
	"microsoft.com", "microsoftonline.com", "google.com", "googleapis.com", "gstatic.com", "apple.com",
	"mzstatic.com", "icloud.com", "digicert.com", "cloudapp.net", "trafficmanager.net", "azure.com",
}

// mostCompared bounds the names that are compared with each other; a longer
// list was made by a program, whose typing needs no check.
const mostCompared = 2000

// named is one host name of the file and where it stands first.
type named struct {
	name   string // a host, or the suffix of a pattern
	listed string // the whole pattern
	at     span
}

// warnLookAlikes tells of hosts one letter from a well-known name or from
// another host of the file.
func (c *compiler) warnLookAlikes() {
	known := byLength{}
	for _, name := range wellKnown {
		known.add(name)
	}
	for _, e := range c.entries {
		for i := range e.Hosts {
			if e.table == nil {
				known.add(e.Hosts[i].String())
			}
		}
	}
	told, own := map[string]bool{}, map[string]named{}
	c.eachOwnName(func(n named) {
		if len(own) <= mostCompared {
			if _, known := own[n.name]; !known {
				own[n.name] = n
			}
		}
		part, like, ok := lookAlike(n.name, known)
		if !ok || told[n.name] {
			return
		}
		told[n.name] = true
		meant := strings.TrimSuffix(n.listed, part) + like
		c.doc.report(codeLookAlike, n.at, c.doc.replaced(n.at, quote(meant)), "%q is one letter from %q; did you mean %q?", n.name, like, meant)
	})
	if len(own) <= mostCompared {
		c.warnAlikes(own, told)
	}
}

// warnAlikes compares the names of the file with each other, in its order.
func (c *compiler) warnAlikes(own map[string]named, told map[string]bool) {
	list := slices.SortedFunc(maps.Values(own), func(a, b named) int { return a.at.start - b.at.start })
	for i, n := range list {
		if told[n.name] {
			continue
		}
		for _, before := range list[:i] {
			if alike(n.name, before.name) {
				c.doc.report(codeLookAlike, n.at, "", "%q is one letter from %q; is it spelt as it should be?", n.name, before.name)
				break
			}
		}
	}
}

// eachOwnName calls f with every exact name and suffix that the file's allows
// list.
func (c *compiler) eachOwnName(f func(named)) {
	for _, e := range c.entries {
		if e.table == nil || e.Deny {
			continue
		}
		for i, h := range e.Hosts {
			name := h.String()
			if suffix := starSuffix(name); suffix != "" {
				name = suffix
			}
			if host, ok := h.Exact(); !ok || !host.IsIP() {
				f(named{name, h.String(), e.hostSpan(i)})
			}
		}
	}
}

// lookAlike finds a known name that the name, or one it is below of, resembles;
// part is that one.
func lookAlike(name string, known byLength) (part, like string, ok bool) {
	for part = name; strings.Contains(part, "."); _, part, _ = strings.Cut(part, ".") {
		if slices.Contains(known[len(part)], part) {
			return "", "", false
		}
		for n := len(part) - 1; n <= len(part)+1; n++ {
			for _, k := range known[n] {
				if alike(part, k) {
					return part, k, true
				}
			}
		}
	}
	return "", "", false
}

// byLength are names by their length: a look-alike differs by one at most.
type byLength map[int][]string

func (b byLength) add(name string) { b[len(name)] = append(b[len(name)], name) }

// alike reports whether two names differ by one letter inserted, left out,
// changed or swapped with its neighbour, in a label of at least four letters.
// Digits tell names apart on purpose (cdn1, cdn2), and so does a hyphen.
func alike(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	if len(b)-len(a) > 1 {
		return false
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	switch {
	case i == len(b) || !letter(b[i]) || len(labelAt(b, i)) < 4:
		return false
	case len(a) < len(b):
		return a[i:] == b[i+1:]
	case !letter(a[i]):
		return false
	case a[i+1:] == b[i+1:]:
		return true
	}
	return i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
}

func letter(c byte) bool { return 'a' <= c && c <= 'z' }

// labelAt is the label of a name around position i.
func labelAt(name string, i int) string {
	start := strings.LastIndexByte(name[:i], '.') + 1
	label, _, _ := strings.Cut(name[start:], ".")
	return label
}

// warnApex tells of "*.x" where x is a name somebody registered and no allow
// lists x itself.
func (c *compiler) warnApex() {
	for _, e := range c.entries {
		if e.table == nil || e.Deny {
			continue
		}
		for i, h := range e.Hosts {
			suffix, ok := h.Suffix()
			if !ok || len(c.allows.exact[suffix]) > 0 || sharedSuffixes[suffix] {
				continue
			}
			if registered, err := publicsuffix.EffectiveTLDPlusOne(suffix); err == nil && registered == suffix {
				c.doc.report(codeApex, e.hostSpan(i), c.doc.replaced(e.hostSpan(i), `"`+suffix+`", "`+h.String()+`"`),
					"%q does not permit %q itself", h, suffix)
			}
		}
	}
}

func dotted(s string) bool { return strings.Contains(s, ".") }
