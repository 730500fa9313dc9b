package format

import (
	"slices"
	"strings"
)

// writer lays out one pair.
type writer struct {
	rows  []row
	line  strings.Builder // the row that is being written
	open  []bracket
	begin bool // nothing but the indent stands on the row
	row   int  // the indent of the row
}

// bracket is an open list or inline table: the column at which its items begin
// a row, and that at which its end does.
type bracket struct{ items, end int }

const indent = 2

func (w *writer) pair(it item, equals int) {
	w.line.WriteString(it.key)
	w.line.WriteString(strings.Repeat(" ", equals-width(it.key)) + " = ")
	i := slices.IndexFunc(it.tokens, func(t token) bool { return t.kind == mark })
	tokens := it.tokens[i+1:]
	for n := range tokens {
		w.token(tokens, n)
	}
	if len(tokens) == 0 || tokens[len(tokens)-1].kind != comment {
		w.endRow("")
	}
}

func (w *writer) token(tokens []token, n int) {
	t := tokens[n]
	var before, after token
	if n > 0 {
		before = tokens[n-1]
	}
	if n+1 < len(tokens) {
		after = tokens[n+1]
	}
	switch {
	case t.kind == newline:
		if before.kind != comment {
			w.endRow("")
		}
		w.newRow(after)
	case t.kind == comment:
		w.endRow(t.text)
	case t.text == "," && t.kind == mark && closes(after):
		// a comma behind the last item of a row's list says nothing
	default:
		w.space(before, t, n)
		w.open = w.brackets(t, after)
		w.line.WriteString(t.text)
		w.begin = false
	}
}

func closes(t token) bool { return t.kind == mark && (t.text == "]" || t.text == "}") }

func opens(t token) bool { return t.kind == mark && (t.text == "[" || t.text == "{") }

// space writes the white space that belongs between two tokens of a row.
func (w *writer) space(before, t token, n int) {
	if n == 0 || w.begin {
		return
	}
	is := func(t token, text string) bool { return t.kind == mark && t.text == text }
	switch {
	case is(t, ","), is(before, "["), is(t, "]"):
	case is(before, "{") && is(t, "}"):
	case is(before, ","), is(before, "="), is(t, "="), is(before, "{"), is(t, "}"):
		w.line.WriteByte(' ')
	case t.apart:
		w.line.WriteByte(' ')
	}
}

// brackets are the open brackets behind a token.
func (w *writer) brackets(t, after token) []bracket {
	switch {
	case opens(t) && (after.kind == newline || after.kind == comment):
		return append(w.open, bracket{w.row + indent, w.row})
	case opens(t):
		at := width(w.line.String())
		inner := at + 1
		if t.text == "{" {
			inner++
		}
		return append(w.open, bracket{inner, at})
	case closes(t) && len(w.open) > 0:
		return w.open[:len(w.open)-1]
	}
	return w.open
}

func (w *writer) endRow(comment string) {
	code := w.line.String()
	w.line.Reset()
	if strings.TrimSpace(code) == "" {
		if comment != "" { // a comment alone keeps its indent
			w.rows = append(w.rows, row{comment: strings.Repeat(" ", w.row) + comment})
			return
		}
		code = ""
	}
	w.rows = append(w.rows, row{code: code, comment: comment})
}

// newRow begins a row at the indent that its first token asks for.
func (w *writer) newRow(first token) {
	w.row = 0
	if n := len(w.open); n > 0 {
		w.row = w.open[n-1].items
		if closes(first) {
			w.row = w.open[n-1].end
		}
	}
	w.line.WriteString(strings.Repeat(" ", w.row))
	w.begin = true
}
