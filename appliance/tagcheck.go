package appliance

import (
	"fmt"
	"slices"
	"strings"

	"gatehouse/internal/servicetags"
	"gatehouse/rules"
)

// objections are what is to be said against a list of service tags that is to
// take the place of another: it is older, lacks a tag in use, or has lost more
// than a third of one.
func objections(before, after *servicetags.File, inUse []string) (list []string) {
	object := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	if after.Older(before) {
		object("it is older: change number %d of %s, where %d of %s is in force", after.ChangeNumber, day(after.Date), before.ChangeNumber, day(before.Date))
	}
	for _, tag := range inUse {
		old, _ := before.Prefixes(tag)
		switch now, ok := after.Prefixes(tag); {
		case !ok:
			object("it lacks %s, which the rules use", tag)
		case servicetags.Shrinks(old, now):
			object("it has lost more than a third of %s: %d ranges, where %d are in force", tag, len(now), len(old))
		}
	}
	return list
}

// tagsOf are the tags that rules name, in alphabetical order.
func tagsOf(loaded *rules.Loaded) []string {
	if loaded == nil {
		return nil
	}
	var names []string
	for _, r := range loaded.Policy.Rules() {
		for _, t := range r.Addresses.Tags {
			names = append(names, t.Name)
		}
	}
	slices.SortFunc(names, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
	return slices.CompactFunc(names, strings.EqualFold)
}
