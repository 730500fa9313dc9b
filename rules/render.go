package rules

import (
	"fmt"
	"io"
	"strings"
	"unicode"
)

// Render writes the problems as text: for each its place, the line with a caret
// under what is meant, the fix and the reason.
func Render(w io.Writer, problems []Problem) error {
	for i, p := range problems {
		if i > 0 {
			if _, err := io.WriteString(w, "\n"); err != nil {
				return err
			}
		}
		if _, err := io.WriteString(w, p.String()); err != nil {
			return err
		}
	}
	return nil
}

// String is the problem as Render writes it, each line with its line end.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, max(p.Column, 1))
	}
	fmt.Fprintf(&b, ": %s %s: %s\n", p.Level, p.Code, p.Message)
	if p.Line > 0 && strings.TrimSpace(p.Source) != "" {
		fmt.Fprintf(&b, "%5d | %s\n", p.Line, p.Source)
		if p.Column > 0 {
			fmt.Fprintf(&b, "      | %s%s\n", indent(p.Source, p.Column-1), strings.Repeat("^", max(p.Width, 1)))
		}
	}
	for _, line := range []struct{ label, text string }{{"fix", p.Fix}, {"why", p.Why}} {
		if line.text != "" {
			fmt.Fprintf(&b, "   %s: %s\n", line.label, strings.ReplaceAll(line.text, "\n", "\n        "))
		}
	}
	return printable(b.String())
}

// printable takes control characters out of text from a file, so that no file
// can play with the terminal of whoever checks it.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// indent is as wide as the first n characters of a line: tabs stay tabs.
func indent(line string, n int) string {
	var b strings.Builder
	for i, r := range []rune(line) {
		switch {
		case i >= n:
			return b.String()
		case r == '\t':
			b.WriteRune('\t')
		default:
			b.WriteByte(' ')
		}
	}
	return b.String()
}
