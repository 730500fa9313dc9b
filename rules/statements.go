package rules

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// statement is a line that begins something new: a header or a pair.
var statementLine = regexp.MustCompile(`^\s*(\[\[?\s*[A-Za-z]|[A-Za-z_][\w-]*\s*=)`)

// headerLine is a statement that is a header.
var headerLine = regexp.MustCompile(`^\s*\[\[?\s*[A-Za-z]`)

// unclosed reports a list or inline table that was never closed: the decoder
// stops far behind it, at the next statement or at the end of the file. The
// offset is that of the statement.
func (d *document) unclosed(statements []int, stop, line int) (begin int, ok bool) {
	i := lastBefore(statements, stop)
	if i < 0 {
		return 0, false
	}
	first := d.lineOf(statements[i])
	last := line - 1
	atEnd := strings.TrimSpace(d.text[stop:]) == ""
	if atEnd {
		last = line
	} else if line == first || !statementLine.MatchString(d.line(line)) {
		return 0, false
	}
	at, mark, open := d.openBracket(first, last)
	if !open || mark == "{" && !atEnd && !headerLine.MatchString(d.line(line)) {
		return 0, false
	}
	what, closing := "list", "]"
	if mark == "{" {
		what, closing = "table in braces", "}"
	}
	message := fmt.Sprintf("the %s that begins here has no %s at its end", what, closing)
	fix := closing + " on a line of its own, behind the last item"
	if last == first || strings.TrimSpace(strings.Join(d.linesOf(first+1, last), "")) == "" {
		text := d.line(first)
		tokens := cut(text)
		end := tokens[len(tokens)-1].end
		if mark == "{" {
			closing = " }"
		}
		fix = strings.TrimSpace(strings.TrimRight(text[:end], ", \t") + closing + text[end:])
	}
	d.report(codeSyntax, span{at, at + 1}, fix, "%s", message)
	return statements[i], true
}

// unended reports a text in three quotes that nothing ends.
func (d *document) unended(statements []int, said string) (begin int, ok bool) {
	i := lastBefore(statements, len(d.text))
	for _, quotes := range []string{`"""`, "'''"} {
		if i < 0 || !strings.Contains(said, "EOF; expected") || !strings.Contains(said, quotes) {
			continue
		}
		if at := strings.Index(d.text[statements[i]:], quotes); at >= 0 {
			at += statements[i]
			d.report(codeSyntax, span{at, at + 3}, quotes+" behind its last word", "the text that begins here with %s does not end", quotes)
			return statements[i], true
		}
	}
	return 0, false
}

// uncommaed reports an item of a list that lacks its comma, where the next one
// stands on another line.
func (d *document) uncommaed(said string, stop, line int) bool {
	if !strings.Contains(said, "expected a comma") || strings.TrimSpace(d.text[d.starts[line-1]:stop]) != "" {
		return false
	}
	for n := line - 1; n > 0 && len(d.line(n)) <= longestShown; n-- {
		tokens := cut(d.line(n))
		if len(tokens) == 0 {
			continue
		}
		text, end := d.line(n), tokens[len(tokens)-1].end
		at := d.starts[n-1] + end
		d.repair = &edit{span{at, at}, ","}
		d.report(codeSyntax, span{at, at}, strings.TrimSpace(text[:end]+","+text[end:]), "behind this item of the list the comma is missing")
		return true
	}
	return false
}

// lastBefore is the index of the last statement that begins at or before an
// offset, -1 where there is none.
func lastBefore(statements []int, offset int) int {
	i, found := slices.BinarySearch(statements, offset)
	if found {
		return i
	}
	return i - 1
}

// openBracket is the outermost bracket that the lines leave open.
func (d *document) openBracket(first, last int) (at int, mark string, ok bool) {
	type bracket struct {
		at   int
		mark string
	}
	var open []bracket
	for n := first; n <= last; n++ {
		if len(d.line(n)) > longestShown {
			return 0, "", false
		}
		for _, t := range cut(d.line(n)) {
			switch {
			case t.kind == tokenOpen:
				return 0, "", false
			case t.kind != tokenMark:
			case t.text == "[" || t.text == "{":
				open = append(open, bracket{d.starts[n-1] + t.start, t.text})
			case (t.text == "]" || t.text == "}") && len(open) > 0:
				open = open[:len(open)-1]
			}
		}
	}
	if len(open) == 0 {
		return 0, "", false
	}
	return open[0].at, open[0].mark, true
}

// twice words a key or a table that stands twice.
func (d *document) twice(b *brokenLine, statements []int, begin int) (slip, bool) {
	if !strings.Contains(b.said, "already") || len(b.tokens) == 0 {
		return slip{}, false
	}
	here := b.tokens[0]
	if headerLine.MatchString(b.text) {
		name := strings.Trim(strings.TrimSpace(b.text[here.start:b.codeEnd()]), "[] ")
		s := slip{start: here.start, end: b.codeEnd()}
		first := d.earlier(statements, begin, "["+name+"]", false)
		switch {
		case slices.Contains(listTables, name):
			s.fix, s.message = "[["+name+"]]", fmt.Sprintf("there can be many tables %q, so each begins with two brackets", name)
		case first > 0:
			s.fix = fmt.Sprintf("move what stands below it to the table in line %d", first)
			s.message = fmt.Sprintf("the table %q stands twice, first in line %d", name, first)
		default:
			return slip{}, false
		}
		return s, true
	}
	header := d.headerBefore(statements, begin)
	first := d.earlier(statements, begin, here.text, true)
	if first == 0 {
		return slip{}, false
	}
	fix := "keep one of the two lines"
	if here.text == "name" && strings.HasPrefix(header, "[[") {
		fix = header + "\n" + strings.TrimSpace(b.text)
	}
	return here.slip(fix, "the key %q stands twice in one table, first in line %d", here.text, first)
}

// headerBefore is the text of the last header before an offset.
func (d *document) headerBefore(statements []int, begin int) string {
	for i := lastBefore(statements, begin) - 1; i >= 0; i-- {
		line := d.lineOf(statements[i])
		if headerLine.MatchString(d.line(line)) {
			text := strings.TrimSpace(d.line(line))
			return text[:strings.LastIndexByte(text, ']')+1]
		}
	}
	return ""
}

// earlier is the line of an earlier statement that begins with a text, 0 where
// there is none; inTable looks no further than the last header.
func (d *document) earlier(statements []int, begin int, text string, inTable bool) int {
	for i := lastBefore(statements, begin-1); i >= 0; i-- {
		line := d.lineOf(statements[i])
		if len(d.line(line)) > longestShown {
			continue
		}
		tokens := cut(d.line(line))
		if len(tokens) > 0 && (tokens[0].text == text || strings.HasPrefix(strings.TrimSpace(d.line(line)), text)) {
			return line
		}
		if inTable && headerLine.MatchString(d.line(line)) {
			return 0
		}
	}
	return 0
}
