package console

import (
	"cmp"
	"html/template"
	"slices"
	"strings"
	"time"

	"gatehouse/policy"
)

// functions are what the templates call.
var functions = template.FuncMap{
	"clock": func(t time.Time) string { return t.Format("15:04:05") },
	"moment": func(t time.Time) string {
		if t.IsZero() {
			return "never"
		}
		return t.Format("2006-01-02 15:04:05")
	},
	"short":    func(sha string) string { return sha[:min(len(sha), 12)] },
	"deed":     func(what string) string { return cmp.Or(deeds[what], what) },
	"words":    func(verdict string) string { return strings.ReplaceAll(verdict, "_", " ") },
	"lasting":  func(seconds int) string { return (time.Duration(seconds) * time.Second).String() },
	"reasons":  reasons,
	"verdicts": func() []string { return []string{"allowed", "denied", "would_deny"} },
	"surfaces": func() []string { return []string{"http", "connect", "gateway", "dns", "publish"} },
	"lines":    func(s string) []string { return strings.Split(strings.TrimRight(s, "\n"), "\n") },
	"add":      func(a, b int) int { return a + b },
	"join":     func(list []string) string { return strings.Join(list, ", ") },
	"bearing":  bearing,
	"bears":    func(state string) string { return bears[state] },
	// clause is one that is not enforced; empty: the line only counts them.
	"clause": func(line string) string {
		words, _ := strings.CutPrefix(line, "note: not enforced: ")
		if words == line && strings.HasPrefix(line, "note: clauses ") {
			return ""
		}
		return strings.TrimPrefix(words, "note: ")
	},
	// class is how a state looks, part a finding under its heading.
	"class": func(state string) string { return cmp.Or(classes[state], "quiet") },
	"part": func(of string, f Finding) any {
		return struct {
			Of string
			Finding
		}{of, f}
	},
	"warning": func(line string) bool {
		return slices.ContainsFunc([]string{"warning", "problem", "not ready"}, func(sort string) bool { return strings.HasPrefix(line, sort) })
	},
}

// bearing is how a pack does as a whole: as its worst requirement that was used.
func bearing(p Pack) string {
	for _, state := range []string{"refused", "trouble", "works"} {
		if slices.ContainsFunc(p.Requirements, func(r Requirement) bool { return r.State == state }) {
			return state
		}
	}
	return "quiet"
}

var bears = map[string]string{
	"refused": "something that it needs was refused the last time",
	"trouble": "something that it needs was permitted, and failed outside",
	"works":   "all that it asked for lately went through",
	"quiet":   "it has asked for nothing lately",
}

var classes = map[string]string{"ok": "ok", "warning": "look", "failed": "failed"}

// deeds say in words what somebody did.
var deeds = map[string]string{
	"start":   "found when gatehouse started",
	"edit":    "changed on the disk",
	"reload":  "asked for a reload",
	"apply":   "put a draft on trial",
	"confirm": "kept the draft on trial",
	"revert":  "took the draft on trial back",
	"import":  "changed the Azure addresses",
	"ca":      "changed the inspection CA",
	"backup":  "took a backup",
	"restore": "put a backup back",
}

// reasons are those that a refusal can have, or a world that failed.
func reasons() (words []string) {
	for _, r := range policy.Reasons() {
		words = append(words, r.String())
	}
	return words
}
