package rules

import (
	"strings"

	"github.com/BurntSushi/toml"
)

// brokenLine is the line at which the decoder stopped, cut into tokens.
type brokenLine struct {
	text   string // without its end
	tokens []token
	stop   int    // where the decoder stopped, as an offset in the line
	said   string // what the decoder said
}

// token is a run of bytes of a line, white space and comments left out.
type token struct {
	kind       tokenKind
	start, end int
	text       string
}

type tokenKind uint8

const (
	tokenWord  tokenKind = iota // letters, digits and whatever else stands without a space
	tokenText                   // in plain quotes
	tokenOpen                   // a plain quote that nothing closes, and what follows
	tokenSmart                  // a typographic quote
	tokenMark                   // one of = , [ ] { }
)

// reportSyntax words the decoder's error for an admin, and returns where what
// cannot be read begins. statements are the offsets at which headers and pairs
// begin.
func (d *document) reportSyntax(pe toml.ParseError, statements []int) int {
	stop := d.stopped(pe)
	line := d.lineOf(stop)
	if begin, ok := d.unended(statements, pe.Message); ok {
		return begin
	}
	if begin, ok := d.unclosed(statements, stop, line); ok {
		return begin
	}
	if d.uncommaed(pe.Message, stop, line) {
		return stop
	}
	if d.leftOver(line) || d.recognised(pe, statements, stop, line) {
		return stop
	}
	d.report(codeSyntax, span{stop, stop + max(1, pe.Position.Len)}, "", "%s", plain(pe.Message))
	return stop
}

// recognised tells a mistake that the line shows by how it looks.
func (d *document) recognised(pe toml.ParseError, statements []int, stop, line int) bool {
	begin, text := d.starts[line-1], d.line(line)
	if len(text) > longestShown { // written by a program; a fix would not be read
		return false
	}
	b := &brokenLine{text: text, tokens: cut(text), stop: min(stop-begin, len(text)), said: pe.Message}
	if f, ok := d.twice(b, statements, begin); ok {
		d.reportSlip(f, begin)
		return true
	}
	for _, recognise := range slips {
		if f, ok := recognise(b); ok {
			d.reportSlip(f, begin)
			return true
		}
	}
	return false
}

// leftOver reports whether a line is but the end of a list or table whose
// beginning was torn out, and so was told of.
func (d *document) leftOver(line int) bool {
	return len(d.torn) > 0 && d.torn[len(d.torn)-1].start < d.starts[line-1] && strings.Trim(d.line(line), "]}, \t") == ""
}

// stopped is the offset at which the decoder stopped. An error of a line end is
// one of the line, not of the next one.
func (d *document) stopped(pe toml.ParseError) int {
	at := min(max(pe.Position.Start, 0), len(d.text))
	line := max(pe.Position.Line, 1)
	if strings.Contains(pe.Message, `'\n'`) || at < len(d.text) && d.text[at] == '\n' { // the decoder has counted it already
		line = d.lineOf(at)
	}
	if line > len(d.starts) {
		return at
	}
	begin := d.starts[line-1]
	return min(max(at, begin), begin+len(d.line(line)))
}

func (d *document) reportSlip(f slip, begin int) {
	code := f.code
	if code == nil {
		code = codeSyntax
	}
	if f.safe {
		d.repair = &edit{span{begin, begin + len(d.line(d.lineOf(begin)))}, f.fix}
	}
	d.report(code, span{begin + f.start, begin + f.end}, strings.TrimSpace(f.fix), "%s", f.message)
}

// plain words what the decoder says where nothing better is known.
func plain(said string) string {
	for _, w := range [][2]string{
		{`'\n'`, "the end of the line"}, {`'\r'`, "the end of the line"}, {"end of file", "the end of the file"}, {"EOF", "the end of the file"},
		{"array terminator (']')", "the ] that ends the list"}, {"inline table terminator '}'", "the } that ends the table"},
		{" instead", ""}, {"a comma (',')", "a comma"},
	} {
		said = strings.ReplaceAll(said, w[0], w[1])
	}
	said = short(strings.TrimSuffix(said, "."))
	if said == "" {
		return "this cannot be read"
	}
	return strings.ToLower(said[:1]) + said[1:]
}

// cut cuts a line into tokens, up to its comment.
func cut(line string) []token {
	var all []token
	for i := 0; i < len(line); {
		t := token{start: i}
		switch c := line[i]; {
		case c == ' ' || c == '\t' || c == '\r':
			i++
			continue
		case c == '#':
			return all
		case strings.IndexByte("=,[]{}", c) >= 0:
			t.kind, i = tokenMark, i+1
		case c == '"' || c == '\'':
			t.kind, i = quoted(line, i)
		case smartAt(line[i:]) > 0:
			t.kind, i = tokenSmart, i+smartAt(line[i:])
		default:
			i = wordEnd(line, i)
		}
		t.end, t.text = i, line[t.start:i]
		all = append(all, t)
	}
	return all
}

// quoted finds the end of a text in quotes; in double quotes a backslash takes
// the next character along.
func quoted(line string, start int) (tokenKind, int) {
	for i := start + 1; i < len(line); i++ {
		switch {
		case line[i] == line[start]:
			return tokenText, i + 1
		case line[i] == '\\' && line[start] == '"':
			i++
		}
	}
	return tokenOpen, len(line)
}

func wordEnd(line string, i int) int {
	for ; i < len(line); i++ {
		if strings.IndexByte(" \t\r=,[]{}\"'#", line[i]) >= 0 || smartAt(line[i:]) > 0 {
			return i
		}
	}
	return i
}

// smartQuotes are the quotes that word processors make, and what was meant.
var smartQuotes = strings.NewReplacer("\u201c", `"`, "\u201d", `"`, "\u201e", `"`, "\u201f", `"`,
	"\u2018", "'", "\u2019", "'", "\u201a", "'", "\u00ab", `"`, "\u00bb", `"`)

// smartAt is the length of the typographic quote that s begins with, 0 where it
// begins with none.
func smartAt(s string) int {
	for _, q := range []string{"\u201c", "\u201d", "\u201e", "\u201f", "\u2018", "\u2019", "\u201a", "\u00ab", "\u00bb"} {
		if strings.HasPrefix(s, q) {
			return len(q)
		}
	}
	return 0
}

// with is the line with other text in place of a run of its bytes.
func (b *brokenLine) with(start, end int, text string) string {
	return b.text[:start] + text + b.text[end:]
}

// code is the line's end without white space and comment.
func (b *brokenLine) codeEnd() int {
	if len(b.tokens) == 0 {
		return len(b.text)
	}
	return b.tokens[len(b.tokens)-1].end
}

// value are the tokens behind the first "=", and the key before it; ok is false
// where there is no key of one word.
func (b *brokenLine) value() (key token, value []token, ok bool) {
	if len(b.tokens) < 2 || b.tokens[1].text != "=" || b.tokens[0].kind != tokenWord && b.tokens[0].kind != tokenText {
		return token{}, nil, false
	}
	return b.tokens[0], b.tokens[2:], true
}
