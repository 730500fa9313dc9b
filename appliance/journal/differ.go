package journal

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
)

// Line is a line of a comparison. A line that was there before and is there
// after has both numbers; Gap stands for lines that are the same and not shown.
type Line struct {
	Before int    `json:"before,omitempty"` // its number in the older file, from 1; 0: not in it
	After  int    `json:"after,omitempty"`
	Text   string `json:"text"`
	Gap    bool   `json:"gap,omitempty"`
}

// Sort is "same", "removed", "added" or "gap".
func (l Line) Sort() string {
	switch {
	case l.Gap:
		return "gap"
	case l.Before == 0:
		return "added"
	case l.After == 0:
		return "removed"
	}
	return "same"
}

// Compare tells two files apart line by line, with some lines around each
// difference. Two files that are the same give nothing. Line ends do not count.
func Compare(before, after []byte) []Line {
	text := diff.Diff("before", ending(before), "after", ending(after))
	var lines []Line
	var b, a int
	for row := range strings.Lines(string(text)) {
		row = strings.TrimSuffix(row, "\n")
		switch {
		case strings.HasPrefix(row, "@@ "):
			var nb, na int
			if fmt.Sscanf(row, "@@ -%d,%d +%d,%d @@", &b, &nb, &a, &na); len(lines) > 0 {
				lines = append(lines, Line{Gap: true})
			}
		case b == 0 && a == 0: // the heading
		case strings.HasPrefix(row, "-"):
			lines = append(lines, Line{Before: b, Text: row[1:]})
			b++
		case strings.HasPrefix(row, "+"):
			lines = append(lines, Line{After: a, Text: row[1:]})
			a++
		case strings.HasPrefix(row, " "):
			lines = append(lines, Line{Before: b, After: a, Text: row[1:]})
			b, a = b+1, a+1
		}
	}
	return lines
}

// ending is a text with one kind of line ends, and one at its end.
func ending(text []byte) []byte {
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	if len(text) > 0 && text[len(text)-1] != '\n' {
		text = append(text[:len(text):len(text)], '\n')
	}
	return text
}
