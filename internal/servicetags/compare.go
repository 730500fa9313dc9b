package servicetags

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// Change is how one tag differs between two files.
type Change struct {
	Tag            string // as the newer file spells it, else as the older does
	Added, Removed []netip.Prefix
	// Before and After are how many ranges the tag has; Gone says that the newer
	// file does not know it, New that the older does not.
	Before, After int
	Gone, New     bool
}

// Compare tells what changes when after takes the place of before: the tags that
// differ, in alphabetical order. A range that became larger or smaller counts as
// removed and added.
func Compare(before, after *File) []Change {
	keys := map[string]bool{}
	for _, f := range []*File{before, after} {
		for key := range f.all() {
			keys[key] = true
		}
	}
	var changes []Change
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		old, had := before.tag(key)
		now, has := after.tag(key)
		c := Change{Tag: now.name, Before: len(old.prefixes), After: len(now.prefixes), Gone: !has, New: !had,
			Added: missing(now.prefixes, old.prefixes), Removed: missing(old.prefixes, now.prefixes)}
		if !has {
			c.Tag = old.name
		}
		if c.Gone || c.New || len(c.Added)+len(c.Removed) > 0 {
			changes = append(changes, c)
		}
	}
	return changes
}

func (f *File) tag(name string) (tag, bool) {
	t, ok := f.all()[strings.ToLower(name)]
	return t, ok
}

// missing are the elements of list that are not in other.
func missing(list, other []netip.Prefix) []netip.Prefix {
	known := make(map[netip.Prefix]bool, len(other))
	for _, p := range other {
		known[p] = true
	}
	var out []netip.Prefix
	for _, p := range list {
		if !known[p] {
			out = append(out, p)
		}
	}
	return out
}

// Older reports whether f was issued before other: by the change number or,
// where one of them has none, by the date.
func (f *File) Older(other *File) bool {
	if f.ChangeNumber > 0 && other.ChangeNumber > 0 {
		return f.ChangeNumber < other.ChangeNumber
	}
	return !f.Date.IsZero() && !other.Date.IsZero() && f.Date.Before(other.Date)
}

// Shrinks reports whether more than a third of a tag would be gone: of its
// ranges, or of the IPv4 addresses in them.
func Shrinks(before, after []netip.Prefix) bool {
	return 3*len(after) < 2*len(before) || 3*addresses(after) < 2*addresses(before)
}

// addresses is how many IPv4 addresses ranges hold, an overlap counted twice.
func addresses(list []netip.Prefix) (n uint64) {
	for _, p := range list {
		if p.Addr().Is4() {
			n += 1 << (32 - p.Bits())
		}
	}
	return n
}
