package rules

import (
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"

	"gatehouse/rules/scan"
)

// document is a TOML file with the place of everything in it, and the problems
// found so far.
type document struct {
	name string
	// lines are those of the text as it is read: without byte order mark, and
	// with mended or torn out what could not be read as it was written. They are
	// as many as those that were written.
	lines
	written *lines // nil: the text is read as it was written
	root    *scan.Node
	whole   bool // nothing was torn out
	// torn is what was torn out, and tornTables are the tables that lack it.
	torn       []tear
	tornTables map[*scan.Node]bool
	problems   []Problem
	told       map[Level]int // how many problems of each level were found
	// meant are the keys that misspelt ones were probably meant to be.
	meant map[meaning]bool
	forms map[reflect.Type]*form
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

// tear is what was torn out of a text; header says that it begins with one.
type tear struct {
	span
	header bool
}

// span is a run of bytes of the document.
type span struct{ start, end int }

func spanOf(n *scan.Node) span { return span{int(n.Start), int(n.End)} }

func keySpan(f scan.Field) span { return span{int(f.Start), int(f.End)} }

func newDocument(name, text string) *document {
	return &document{name: name, lines: newLines(text), meant: map[meaning]bool{}}
}

// place is the line and column (in characters) of an offset in the file as it
// was written, both from 1.
func (d *document) place(offset int) (line, column int) {
	line = d.lineOf(offset)
	begin, offset := d.starts[line-1], min(offset, len(d.text))
	if d.written != nil {
		if is, was := d.line(line), d.written.line(line); is != was {
			return line, utf8.RuneCountInString(was[:inOther(is, was, offset-begin)]) + 1
		}
	}
	return line, d.chars(begin, offset) + 1
}

// inOther is where an offset in one text stands in another, which differs from
// it in one run of bytes. An offset within that run stands where it begins.
func inOther(is, was string, offset int) int {
	same := 0
	for same < min(len(is), len(was)) && is[same] == was[same] {
		same++
	}
	for same > 0 && same < len(was) && !utf8.RuneStart(was[same]) {
		same--
	}
	end := 0
	for end < min(len(is), len(was))-same && is[len(is)-1-end] == was[len(was)-1-end] {
		end++
	}
	switch {
	case offset <= same:
		return offset
	case offset >= len(is)-end:
		return min(offset+len(was)-len(is), len(was))
	}
	return same
}

// width is how many characters of a span stand on its first line, at least 1.
func (d *document) width(s span) int {
	start := min(s.start, len(d.text))
	text, _, _ := strings.Cut(d.text[start:min(max(start, s.end), len(d.text), start+longestShown)], "\n")
	return max(1, utf8.RuneCountInString(strings.TrimRight(text, "\r")))
}

// longestShown is the longest line, in bytes, that a problem shows or a fix
// repeats: a longer one was written by a program.
const longestShown = 1000

// shown is a line as it was written and as problems show it.
func (d *document) shown(n int) string {
	source := d.line(n)
	if d.written != nil {
		source = d.written.line(n)
	}
	if len(source) <= longestShown {
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
	source, width := d.shown(line), d.width(at)
	if d.written != nil { // what was mended may be longer than what was written
		width = max(1, min(width, utf8.RuneCountInString(source)-column+1))
	}
	d.problems = append(d.problems, Problem{
		File: d.name, Line: line, Column: column, Level: c.Level, Code: c.ID,
		Message: short(fmt.Sprintf(format, args...)), Fix: fix, Why: c.Why,
		Source: source, Width: width,
	})
}

// short is a message without the middle of what a program wrote into it.
func short(message string) string {
	if len(message) <= longestShown {
		return message
	}
	return strings.ToValidUTF8(message[:longestShown/2]+" … "+message[len(message)-longestShown/2:], "")
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

// toldEnough reports whether no further error would be told: then the file is
// refused, and reading more rules of it would only cost time.
func (d *document) toldEnough() bool { return d.told[Error] > mostTold }

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
	line := d.lineOf(at.start)
	begin := d.starts[line-1]
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
