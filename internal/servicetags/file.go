package servicetags

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// File is one list of service tags. It is immutable and safe for concurrent
// use; a nil *File knows no tag.
type File struct {
	// Name is the file's name as Parse was told it.
	Name string
	// ChangeNumber grows with every issue; 0 in the legacy XML, which has none.
	ChangeNumber int
	// Date is the day in the file's name (YYYYMMDD, UTC). Where it has none
	// LoadPath gives the file's last change, and Parse leaves it zero.
	Date time.Time

	tags map[string]tag // by lower-case name
	// later gives the tags where they were not read yet: of the built-in copy.
	later func() map[string]tag
}

// all are the tags by lower-case name. A nil File has none.
func (f *File) all() map[string]tag {
	switch {
	case f == nil:
		return nil
	case f.later != nil:
		return f.later()
	}
	return f.tags
}

type tag struct {
	name     string // as the file spells it
	prefixes []netip.Prefix
}

// Prefixes are the ranges of the tag of that name, compared without case and
// whole. ok is false where the file has no such tag. The slice must not be
// changed.
func (f *File) Prefixes(name string) (list []netip.Prefix, ok bool) {
	t, ok := f.all()[strings.ToLower(name)]
	return t.prefixes, ok
}

// Names are the tags of the file in alphabetical order, spelt as in the file.
func (f *File) Names() []string {
	return f.collect(func(tag) bool { return true })
}

// Lookup names the tags that hold an address, in alphabetical order. It walks
// the whole file: it answers a person, not a packet.
func (f *File) Lookup(addr netip.Addr) []string {
	addr = addr.Unmap()
	return f.collect(func(t tag) bool {
		return slices.ContainsFunc(t.prefixes, func(p netip.Prefix) bool { return p.Contains(addr) })
	})
}

func (f *File) collect(want func(tag) bool) []string {
	var names []string
	for _, t := range f.all() {
		if want(t) {
			names = append(names, t.name)
		}
	}
	slices.Sort(names)
	return names
}

// dateInName reads the day out of names like ServiceTags_Public_20251103.json.
func dateInName(name string) time.Time {
	base := name[strings.LastIndexAny(name, `/\`)+1:]
	stem, _, _ := strings.Cut(base, ".")
	day, err := time.Parse("20060102", stem[strings.LastIndexByte(stem, '_')+1:])
	if err != nil {
		return time.Time{}
	}
	return day
}
