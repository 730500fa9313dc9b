package rules

import (
	"sort"
	"strings"
	"unicode/utf8"
)

// lines knows where the lines of a text begin, and counts its characters.
type lines struct {
	text   string
	starts []int // the offset at which each line begins
	ascii  bool  // every byte is a character
	// counted are the characters before each block of a text that is not
	// ASCII, made at first need: whatever the length of a line, a column costs
	// no more than a block to find.
	counted []int
}

// block is how many bytes there are whose characters are counted together.
const block = 512

func newLines(text string) lines {
	l := lines{text: text, starts: make([]int, 1, strings.Count(text, "\n")+1), ascii: true}
	for i := range len(text) {
		if text[i] == '\n' {
			l.starts = append(l.starts, i+1)
		}
		l.ascii = l.ascii && text[i] < utf8.RuneSelf
	}
	return l
}

// lineOf is the line of an offset, from 1.
func (l *lines) lineOf(offset int) int {
	return sort.Search(len(l.starts), func(i int) bool { return l.starts[i] > offset })
}

// line is a line without its end, empty where there is none.
func (l *lines) line(n int) string {
	if n < 1 || n > len(l.starts) {
		return ""
	}
	end := len(l.text)
	if n < len(l.starts) {
		end = l.starts[n] - 1
	}
	return strings.TrimSuffix(l.text[l.starts[n-1]:end], "\r")
}

// linesOf are some lines, both ends included.
func (l *lines) linesOf(first, last int) []string {
	var all []string
	for n := first; n <= last; n++ {
		all = append(all, l.line(n))
	}
	return all
}

// chars is the number of characters between two offsets.
func (l *lines) chars(from, to int) int {
	switch {
	case l.ascii:
		return to - from
	case to-from <= block:
		return utf8.RuneCountInString(l.text[from:to])
	}
	return l.charsBefore(to) - l.charsBefore(from)
}

// charsBefore counts the bytes that begin a character.
func (l *lines) charsBefore(offset int) int {
	if l.counted == nil {
		n := 0
		for at := 0; at <= len(l.text); at += block {
			l.counted = append(l.counted, n)
			n += beginnings(l.text[at:min(at+block, len(l.text))])
		}
	}
	whole := offset / block
	return l.counted[whole] + beginnings(l.text[whole*block:offset])
}

func beginnings(s string) int {
	n := 0
	for i := range len(s) {
		if utf8.RuneStart(s[i]) {
			n++
		}
	}
	return n
}
