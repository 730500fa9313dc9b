package format

import "strings"

// item is one thing that stands by itself in a document: a blank line, a line
// with a comment alone, a header, or a key and its value over as many lines as
// it takes. A comment behind a header or a value is its last token.
type item struct {
	kind   itemKind
	key    string // of a pair, as written, without white space
	tokens []token
}

type itemKind uint8

const (
	blank itemKind = iota
	remark
	header
	pair
)

// items groups the tokens of a document.
func items(tokens []token) []item {
	var all []item
	for len(tokens) > 0 {
		n := itemEnd(tokens)
		it := item{tokens: tokens[:n]}
		switch first := tokens[0]; {
		case n == 0:
			it.kind = blank
		case first.kind == comment:
			it.kind = remark
		case first.text == "[" && first.kind == mark:
			it.kind = header
		default:
			it.kind, it.key = pair, keyOf(it.tokens)
		}
		all = append(all, it)
		tokens = tokens[min(n+1, len(tokens)):]
	}
	return all
}

// itemEnd is the number of tokens before the line end that ends an item: one
// outside all brackets.
func itemEnd(tokens []token) int {
	depth := 0
	for i, t := range tokens {
		switch {
		case t.kind == newline && depth == 0:
			return i
		case t.kind == mark && (t.text == "[" || t.text == "{"):
			depth++
		case t.kind == mark && (t.text == "]" || t.text == "}"):
			depth--
		}
	}
	return len(tokens)
}

func keyOf(tokens []token) string {
	var b strings.Builder
	for _, t := range tokens {
		if t.kind == mark {
			break
		}
		b.WriteString(t.text)
	}
	return b.String()
}

// name is the name in a header.
func (it item) name() string {
	var b strings.Builder
	for _, t := range it.tokens {
		if t.kind == atom {
			b.WriteString(t.text)
		}
	}
	return b.String()
}
