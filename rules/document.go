package rules

import (
	"fmt"
	"sort"
	"strings"
	"unicode/utf8"

	"gatehouse/rules/scan"
)

// document is a TOML file with the place of everything in it, and the problems
// found so far.
type document struct {
	name     string
	text     string // without byte order mark
	lines    []int  // the offset at which each line begins
	root     *scan.Node
	whole    bool // false: the text behind a syntax error is missing
	problems []Problem
	told     map[Level]int // how many problems of each level were found
	// meant are the keys that misspelt ones were probably meant to be.
	meant map[meaning]bool
	// homes are, for each key, the tables that have it.
	homes map[string][]string
	// repair is what would cure the syntax error without a guess; nil: nothing.
	repair *edit
}

// edit is other text for a span.
type edit struct {
	at   span
	text string
}

// meaning is a key of a table.
type meaning struct {
	table *scan.Node
	key   string
}

// span is a run of bytes of the document.
type span struct{ start, end int }

func spanOf(n *scan.Node) span { return span{n.Start, n.End} }

func newDocument(name, text string) *document {
	d := &document{name: name, text: text, lines: []int{0}, meant: map[meaning]bool{}}
	for i := range len(text) {
		if text[i] == '\n' {
			d.lines = append(d.lines, i+1)
		}
	}
	return d
}

// place is the line and column (in characters) of an offset, both from 1.
func (d *document) place(offset int) (line, column int) {
	line = sort.Search(len(d.lines), func(i int) bool { return d.lines[i] > offset })
	return line, utf8.RuneCountInString(d.text[d.lines[line-1]:min(offset, len(d.text))]) + 1
}

// line is a line of the document without its end.
func (d *document) line(n int) string {
	if n < 1 || n > len(d.lines) {
		return ""
	}
	text, _, _ := strings.Cut(d.text[d.lines[n-1]:], "\n")
	return strings.TrimSuffix(text, "\r")
}

// width is how many characters of a span stand on its first line, at least 1.
func (d *document) width(s span) int {
	text, _, _ := strings.Cut(d.text[min(s.start, len(d.text)):min(max(s.start, s.end), len(d.text))], "\n")
	return max(1, utf8.RuneCountInString(strings.TrimRight(text, "\r")))
}

// longestShown is the longest line, in bytes, that a problem shows or a fix
// repeats: a longer one was written by a program.
const longestShown = 1000

// shown is a line as problems show it.
func (d *document) shown(n int) string {
	if source := d.line(n); len(source) <= longestShown {
		return strings.ToValidUTF8(source, "\ufffd")
	}
	return ""
}

// report adds a problem at a span.
func (d *document) report(c *Code, at span, fix, format string, args ...any) {
	if !d.room(c.Level) {
		return
	}
	line, column := d.place(at.start)
	d.problems = append(d.problems, Problem{
		File: d.name, Line: line, Column: column, Level: c.Level, Code: c.ID,
		Message: fmt.Sprintf(format, args...), Fix: fix, Why: c.Why,
		Source: d.shown(line), Width: d.width(at),
	})
}

// mostTold bounds the problems of each level that are told. Nobody reads more,
// and a broken list of a hundred thousand rules must not cost the memory of the
// gate. Errors are bounded apart from warnings, so that none is lost behind them.
const mostTold = 1000

// room counts one more problem of a level, and reports whether it is to be told.
func (d *document) room(l Level) bool {
	if d.told == nil {
		d.told = map[Level]int{}
	}
	d.told[l]++
	return d.told[l] <= mostTold
}

// reportFile adds a problem of the file as a whole.
func (d *document) reportFile(c *Code, fix, format string, args ...any) {
	d.problems = append(d.problems, Problem{
		File: d.name, Level: c.Level, Code: c.ID, Message: fmt.Sprintf(format, args...), Fix: fix, Why: c.Why,
	})
}

// replaced is the line of a span with other text in its place: a fix that can be
// pasted over the line. Where the span runs over several lines it is the new
// text alone.
func (d *document) replaced(at span, with string) string {
	line, _ := d.place(at.start)
	begin := d.lines[line-1]
	source := d.line(line)
	if at.end > begin+len(source) || len(source) > longestShown {
		return with
	}
	return strings.TrimSpace(source[:at.start-begin] + with + source[at.end-begin:])
}

// finish returns the problems in the order of the file.
func (d *document) finish() []Problem {
	sortProblems(d.problems)
	return d.problems
}

// fresh is the document without its problems, for another reading of its
// values.
func (d *document) fresh() *document {
	again := *d
	again.problems, again.told = nil, nil
	return &again
}
