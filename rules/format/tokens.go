package format

import "strings"

// token is a piece of a TOML document that the layout does not change.
type token struct {
	kind  kind
	text  string
	apart bool // white space stands before it, on the same line
}

type kind uint8

const (
	atom    kind = iota // a bare word, a text, a number
	mark                // one of [ ] { } = ,
	comment             // from # to the end of the line, without trailing blanks
	newline
)

// cut cuts a document that the decoder has accepted into tokens.
func cut(text string) []token {
	var all []token
	apart := false
	for i := 0; i < len(text); {
		t := token{apart: apart}
		start := i
		apart = false
		switch c := text[i]; {
		case c == ' ' || c == '\t' || c == '\r':
			i++
			apart = true
			continue
		case c == '\n':
			t.kind, i = newline, i+1
		case c == '#':
			t.kind, i = comment, lineEnd(text, i)
		case strings.IndexByte("[]{}=,", c) >= 0:
			t.kind, i = mark, i+1
		default:
			i = atomEnd(text, i)
		}
		t.text = text[start:i]
		if t.kind == comment {
			t.text = strings.TrimRight(t.text, " \t\r")
		}
		all = append(all, t)
	}
	return all
}

func lineEnd(text string, i int) int {
	if n := strings.IndexByte(text[i:], '\n'); n >= 0 {
		return i + n
	}
	return len(text)
}

func atomEnd(text string, i int) int {
	switch {
	case strings.HasPrefix(text[i:], `"""`), strings.HasPrefix(text[i:], "'''"):
		return multilineEnd(text, i)
	case text[i] == '"' || text[i] == '\'':
		return quotedEnd(text, i)
	}
	n := strings.IndexAny(text[i:], " \t\r\n#[]{}=,\"'")
	if n < 0 {
		return len(text)
	}
	return i + max(n, 1)
}

func quotedEnd(text string, start int) int {
	for i := start + 1; i < len(text) && text[i] != '\n'; i++ {
		switch {
		case text[i] == text[start]:
			return i + 1
		case text[i] == '\\' && text[start] == '"':
			i++
		}
	}
	return lineEnd(text, start)
}

// multilineEnd finds the end of a text between three quotes; up to two more
// quotes before the closing ones belong to it.
func multilineEnd(text string, start int) int {
	quotes := text[start : start+3]
	for i := start + 3; i < len(text); i++ {
		if text[i] == '\\' && quotes[0] == '"' {
			i++
			continue
		}
		if !strings.HasPrefix(text[i:], quotes) {
			continue
		}
		i += 3
		for more := 0; more < 2 && i < len(text) && text[i] == quotes[0]; more++ {
			i++
		}
		return i
	}
	return len(text)
}
