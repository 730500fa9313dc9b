package console

import (
	"html/template"
	"slices"
	"strings"
	"time"
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
	"verdicts": func() []string { return []string{"allowed", "denied", "would_deny"} },
	"surfaces": func() []string { return []string{"http", "connect", "gateway", "dns", "publish"} },
	"lines":    func(s string) []string { return strings.Split(strings.TrimRight(s, "\n"), "\n") },
	"add":      func(a, b int) int { return a + b },
	"join":     func(list []string) string { return strings.Join(list, ", ") },
	"warning": func(line string) bool {
		return slices.ContainsFunc([]string{"warning", "problem", "not ready"}, func(sort string) bool { return strings.HasPrefix(line, sort) })
	},
}
