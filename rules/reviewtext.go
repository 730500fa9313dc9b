package rules

import (
	_ "embed"
	"encoding/csv"
	"fmt"
	"html/template"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Text writes a review for a terminal: first what somebody should look at, then
// every rule.
func (v Review) Text(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, reviewed on %s: mode %s, %s\n", v.File, v.At.Format(time.DateOnly), v.Mode, count(len(v.Rules), "rule"))
	if v.Book != nil {
		fmt.Fprintf(&b, "%s\n", v.Book.words())
	}
	first := true
	for _, r := range v.Rules {
		if len(r.Remarks) == 0 {
			continue
		}
		if first {
			b.WriteString("\nto look at:\n")
			first = false
		}
		fmt.Fprintf(&b, "  %s %s (line %d) %s\n", r.Kind, r.Name, r.Line, strings.Join(r.Remarks, ", "))
	}
	for _, r := range v.Rules {
		fmt.Fprintf(&b, "\n%s %s (line %d)\n", r.Kind, r.Name, r.Line)
		for _, f := range r.fields(v.Book != nil) {
			if f.value != "" {
				fmt.Fprintf(&b, "  %-8s %s\n", f.name, f.value)
			}
		}
	}
	_, err := io.WriteString(w, printable(b.String()))
	return err
}

func (b *Book) words() string {
	if b.Decisions == 0 {
		return "the decision log holds no decision"
	}
	s := fmt.Sprintf("the decision log: %s from %s to %s", count(b.Decisions, "decision"), b.First.Format(time.DateOnly), b.Last.Format(time.DateOnly))
	if b.Unread > 0 {
		s += fmt.Sprintf(", and %s that cannot be read", count(b.Unread, "line"))
	}
	return s
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

type field struct{ name, value string }

// fields are what a rule says, each in a word and a line.
func (r Reviewed) fields(used bool) []field {
	all := []field{
		{"who", strings.Join(r.Clients, ", ")}, {"where", strings.Join(r.Hosts, ", ")}, {"how", strings.Join(r.How, "; ")},
		{"owner", r.Owner}, {"because", r.Because}, {"until", r.LastDay},
	}
	if used {
		all = append(all, field{"used", r.Use()})
	}
	return all
}

// Use says how often and when last a rule was used.
func (r Reviewed) Use() string {
	if r.Uses == 0 {
		return "never"
	}
	return fmt.Sprintf("%s, last on %s", count(r.Uses, "time"), r.LastUse.Format(time.DateOnly))
}

// CSV writes a review as a table for a spreadsheet. A cell that a spreadsheet
// would take for a formula begins with an apostrophe.
func (v Review) CSV(w io.Writer) error {
	c := csv.NewWriter(w)
	head := []string{"kind", "rule", "line", "pack", "clients", "hosts", "clauses", "owner", "because", "until", "remarks"}
	if v.Book != nil {
		head = append(head, "uses", "last_use")
	}
	c.Write(head)
	for _, r := range v.Rules {
		row := []string{
			r.Kind, r.Name, strconv.Itoa(r.Line), r.Pack, strings.Join(r.Clients, ", "), strings.Join(r.Hosts, ", "),
			strings.Join(r.How, "; "), r.Owner, r.Because, r.LastDay, strings.Join(r.Remarks, ", "),
		}
		if v.Book != nil {
			last := ""
			if r.Uses > 0 {
				last = r.LastUse.Format(time.RFC3339)
			}
			row = append(row, strconv.Itoa(r.Uses), last)
		}
		for i, cell := range row {
			row[i] = inert(cell)
		}
		c.Write(row)
	}
	c.Flush()
	return c.Error() // of any of the writes
}

// inert keeps a spreadsheet from reading a cell as a formula.
func inert(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r\n", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}

//go:embed review.html
var reviewHTML string

var reviewPage = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("review").Funcs(template.FuncMap{
		"join": strings.Join, "day": func(t time.Time) string { return t.Format(time.DateOnly) },
		"words": (*Book).words, "count": count,
	}).Parse(reviewHTML))
})

// HTML writes a review as one page that stands alone and prints.
func (v Review) HTML(w io.Writer) error { return reviewPage().Execute(w, v) }
