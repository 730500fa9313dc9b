package doctor

import (
	"fmt"
	"strings"
	"time"
)

// marks stand before each check; words, so that they can be read aloud, searched
// for and printed anywhere.
var marks = map[State]string{OK: "ok    ", NotTried: "-     ", Warning: "LOOK  ", Failed: "FAILED"}

// String is the report as a person reads it: a place that is well in one line,
// one that is not down to its root.
func (r Report) String() string {
	return r.text(false)
}

// Whole is the report with every step and how long it took, also of what is well.
func (r Report) Whole() string { return r.text(true) }

func (r Report) text(whole bool) string {
	var b strings.Builder
	for _, c := range r.Checks {
		c.write(&b, 0, whole)
	}
	b.WriteString("\n" + r.summary() + "\n")
	return b.String()
}

func (r Report) summary() string {
	counts := map[State]int{}
	for _, c := range r.Checks {
		c.count(counts)
	}
	said := fmt.Sprintf("%d checks are well", counts[OK])
	for _, s := range []struct {
		state State
		says  string
	}{{Failed, "failed"}, {Warning, "to look at"}, {NotTried, "not tried"}} {
		if n := counts[s.state]; n > 0 {
			said += fmt.Sprintf(", %d %s", n, s.says)
		}
	}
	return said + ", at " + r.At.Format(time.RFC3339)
}

// count counts the checks that have no parts.
func (c *Check) count(into map[State]int) {
	if len(c.Parts) == 0 {
		into[c.State]++
	}
	for _, p := range c.Parts {
		p.count(into)
	}
}

func (c *Check) write(b *strings.Builder, depth int, whole bool) {
	indent := strings.Repeat("  ", depth)
	fmt.Fprintf(b, "%s %s%s", marks[c.State], indent, c.Name)
	says, parts := c.Says, c.Parts
	if c.State == OK && c.Way && !whole {
		says, parts = c.inOneLine(), nil
	}
	if says != "" {
		b.WriteString(": " + says)
	}
	if c.MS > 0 {
		fmt.Fprintf(b, " (%.0f ms)", c.MS)
	}
	b.WriteByte('\n')
	if c.Fix != "" && c.State != OK {
		fmt.Fprintf(b, "       %s  fix: %s\n", indent, c.Fix)
	}
	for _, p := range parts {
		p.write(b, depth+1, whole)
	}
}

// inOneLine is what the steps to a place found.
func (c *Check) inOneLine() string {
	var words []string
	for _, p := range c.Parts {
		words = append(words, p.Name+" "+p.Says)
	}
	return strings.Join(words, "; ")
}
