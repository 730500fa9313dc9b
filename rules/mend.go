package rules

import (
	"errors"
	"strings"

	"github.com/BurntSushi/toml"

	"gatehouse/rules/scan"
)

// mend tells what the decoder could not read, and changes the text so that the
// rest can be read: as the line was plainly meant, or without the statement;
// without all that follows where it is the last that is looked for. It reports
// whether anything is left to be read.
func (d *document) mend(err error, statements []int, last bool) bool {
	d.repair = nil
	var pe toml.ParseError
	if !errors.As(err, &pe) {
		d.giveUp()
		d.reportFile(codeSyntax, "", "the file cannot be read: %v", err)
		return false
	}
	begin := d.reportSyntax(pe, statements)
	if r := d.repair; r != nil && !last {
		// A line more or less would move every line below it.
		if now := apply(d.text, []edit{*r}); now != d.text && strings.Count(now, "\n") == strings.Count(d.text, "\n") {
			d.readAs(now)
			return true
		}
	}
	d.whole = false
	if i := lastBefore(statements, begin); i >= 0 {
		begin = statements[i]
	}
	end := len(d.text)
	if !last {
		end = d.resume(begin)
	}
	return d.tear(span{begin, end})
}

// readAs reads the document as another text of as many lines.
func (d *document) readAs(text string) {
	if d.written == nil {
		was := d.lines
		d.written = &was
	}
	d.lines = newLines(text)
}

// resume is where the next statement begins behind a broken one. Behind a broken
// header that is the next header: nobody knows whose the keys between are.
func (d *document) resume(begin int) int {
	next := statementLine
	if d.heads(begin) {
		next = headerLine
	}
	for n := d.lineOf(begin) + 1; n <= len(d.starts); n++ {
		if next.MatchString(d.line(n)) {
			return d.starts[n-1]
		}
	}
	return len(d.text)
}

// heads reports whether a statement was meant for a header.
func (d *document) heads(begin int) bool {
	return strings.HasPrefix(strings.TrimLeft(d.line(d.lineOf(begin)), " \t\"'"), "[")
}

// tear takes a part of the text out, and leaves its line ends. It reports
// whether anything was there.
func (d *document) tear(s span) bool {
	text := []byte(d.text)
	for i := s.start; i < s.end; i++ {
		if text[i] != '\n' && text[i] != '\r' {
			text[i] = ' '
		}
	}
	if string(text) == d.text {
		return false
	}
	d.torn = append(d.torn, tear{s, d.heads(s.start)})
	d.readAs(string(text))
	return true
}

// giveUp leaves the whole text unread.
func (d *document) giveUp() {
	d.whole, d.torn = false, append(d.torn, tear{span{0, len(d.text)}, true})
}

// lacks reports whether something was torn out of a table. What seems to be
// missing from it may have stood there.
func (d *document) lacks(t *scan.Node) bool {
	if d.whole {
		return false
	}
	if d.tornTables == nil {
		d.tornTables = map[*scan.Node]bool{}
		for _, s := range d.torn {
			d.tornTables[enclosing(d.root, s.start)] = true
		}
	}
	return d.tornTables[t]
}

// lacksTable reports whether a table of some name may be missing, or lacks
// something: what it says is not known for sure.
func (d *document) lacksTable(name string) bool {
	if d.whole {
		return false
	}
	for _, s := range d.torn {
		if s.header {
			return true
		}
	}
	f, ok := d.root.Field(name)
	if !ok || f.Value.Kind != scan.Array {
		return false
	}
	for _, t := range f.Value.Items {
		if d.lacks(t) {
			return true
		}
	}
	return false
}

// enclosing is the table with a header that an offset stands below.
func enclosing(n *scan.Node, offset int) *scan.Node {
	best := n
	for _, f := range n.Fields {
		inner := f.Value.Items
		if f.Value.Kind == scan.Table {
			inner = []*scan.Node{f.Value}
		}
		for _, t := range inner {
			if !f.Value.Headed || int(t.Start) > offset {
				continue
			}
			if deeper := enclosing(t, offset); deeper.Start >= best.Start {
				best = deeper
			}
		}
	}
	return best
}
