// Package format lays out TOML text: what stands where on a line, never what it
// says. Every comment and every blank line survives, every value is kept byte
// for byte, and laying out twice changes nothing.
//
// It works on the text, for a decoder forgets comments; it expects a document
// that the decoder has accepted and reads no values.
package format

import "strings"

// Format gives the normal form of a document: keys and headers at the margin,
// the "=" signs of a table below each other, one space where one belongs, a
// blank line before each table, the comments of neighbouring lines below each
// other. Where a line breaks is left to the author, and so is CRLF.
func Format(text string) string {
	end := "\n"
	if i := strings.IndexByte(text, '\n'); i > 0 && text[i-1] == '\r' {
		end = "\r\n"
	}
	var b strings.Builder
	for _, r := range lay(items(cut(text))) {
		b.WriteString(r.text())
		b.WriteString(end)
	}
	return b.String()
}

// Sort puts the keys of each table into the order that order gives for the
// table's name (empty for the top of the document); keys that it does not name
// keep their places behind the others. A comment goes with the key below it. No
// key passes a blank line: what the author set apart stays apart.
func Sort(text string, order func(table string) []string) string {
	all := items(cut(text))
	table := ""
	for start := 0; start < len(all); {
		end := start
		for end < len(all) && (all[end].kind == pair || all[end].kind == remark) {
			end++
		}
		sortRun(all[start:end], order(table))
		if end < len(all) && all[end].kind == header {
			table = all[end].name()
		}
		start = end + 1
	}
	return join(all, text)
}

// join writes items as they are, each from its own line.
func join(all []item, text string) string {
	end := "\n"
	if i := strings.IndexByte(text, '\n'); i > 0 && text[i-1] == '\r' {
		end = "\r\n"
	}
	var b strings.Builder
	for _, it := range all {
		for i, t := range it.tokens {
			if t.apart && i > 0 {
				b.WriteByte(' ')
			}
			if t.kind == newline {
				b.WriteString(end)
			} else {
				b.WriteString(t.text)
			}
		}
		b.WriteString(end)
	}
	return b.String()
}
