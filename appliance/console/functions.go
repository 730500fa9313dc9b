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
	"warning": func(line string) bool {
		return slices.ContainsFunc([]string{"warning", "problem", "not ready"}, func(sort string) bool { return strings.HasPrefix(line, sort) })
	},
}

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
