package rules

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"

	"gatehouse/rules/scan"
)

// parse reads a file into a document. After a syntax error the document holds
// what stands before the broken statement, and says that it is not whole.
func parse(name string, raw []byte) *document {
	text := strings.TrimPrefix(string(raw), "\xef\xbb\xbf")
	d := newDocument(name, text)
	d.root = &scan.Node{Kind: scan.Table}
	if !d.readable(raw) {
		return d
	}
	tree, err := scan.Scan(text)
	var deep *scan.Error
	if errors.As(err, &deep) && deep.Deep {
		d.report(codeSyntax, span{deep.Offset, deep.Offset + 1}, "", "%s", deep.Reason)
		return d
	}
	values, err := decode(text)
	if err == nil {
		d.take(tree, values)
		d.whole = true
		return d
	}
	at := d.reportSyntax(err)
	for i := len(tree.Statements) - 1; i >= 0; i-- {
		start := tree.Statements[i]
		if start > at {
			continue
		}
		if values, err := decode(text[:start]); err == nil {
			before, _ := scan.Scan(text[:start])
			d.take(before, values)
			return d
		}
	}
	return d
}

// readable refuses what is not UTF-8 before anything else is tried.
func (d *document) readable(raw []byte) bool {
	head := raw[:min(len(raw), 64)]
	switch {
	case strings.HasPrefix(string(raw), "\xff\xfe"), strings.HasPrefix(string(raw), "\xfe\xff"),
		strings.Contains(string(head), "\x00"):
		d.reportFile(codeEncoding, "in Notepad: File, Save As, Encoding: UTF-8", "the file is saved as UTF-16 (Notepad calls it \"Unicode\")")
		return false
	case utf8.Valid(raw):
		return true
	}
	for i, r := range d.text {
		if r == utf8.RuneError && !utf8.FullRuneInString(d.text[i:]) || r == utf8.RuneError && d.text[i] != 0xef {
			d.report(codeEncoding, span{i, i + 1}, "in Notepad: File, Save As, Encoding: UTF-8",
				"the file is not saved as UTF-8 (Notepad's \"ANSI\"?): this character cannot be read")
			break
		}
	}
	return false
}

// decode asks the decoder, and turns its panics (it has a few for documents it
// did not expect) into errors: a strange file must not end the process.
func decode(text string) (values map[string]any, err error) {
	defer func() {
		if r := recover(); r != nil {
			values, err = nil, fmt.Errorf("the decoder gave up: %v", r)
		}
	}()
	_, err = toml.Decode(text, &values)
	return values, err
}

// take joins the values of the decoder with the places of the scanner.
func (d *document) take(tree *scan.Document, values map[string]any) {
	if join(tree.Root, values) {
		d.root = tree.Root
		return
	}
	// The fuzz test of package scan says that this does not happen.
	d.reportFile(codeSyntax, "", "the file cannot be read: its keys and their places do not agree")
}

// join hangs each value on its node; false where the two differ in shape.
func join(n *scan.Node, value any) bool {
	switch v := value.(type) {
	case map[string]any:
		if n.Kind != scan.Table || len(n.Fields) != len(v) {
			return false
		}
		for _, f := range n.Fields {
			inner, ok := v[f.Name]
			if !ok || !join(f.Value, inner) {
				return false
			}
		}
	case []map[string]any:
		return joinItems(n, v)
	case []any:
		return joinItems(n, v)
	default:
		n.Data = v
		return n.Kind == scan.Leaf
	}
	return true
}

func joinItems[T any](n *scan.Node, items []T) bool {
	if n.Kind != scan.Array || len(n.Items) != len(items) {
		return false
	}
	for i, item := range items {
		if !join(n.Items[i], item) {
			return false
		}
	}
	return true
}

var (
	smartQuotes = strings.NewReplacer("\u201c", `"`, "\u201d", `"`, "\u201e", `"`, "\u201f", `"`,
		"\u2018", "'", "\u2019", "'", "\u201a", "'", "\u00ab", `"`, "\u00bb", `"`)
	slashDate = regexp.MustCompile(`=\s*"?(\d{1,2})[/.](\d{1,2})[/.](\d{4})"?`)
)

// reportSyntax words the decoder's error for an admin and returns its offset.
func (d *document) reportSyntax(err error) int {
	var pe toml.ParseError
	if !errors.As(err, &pe) {
		d.reportFile(codeSyntax, "", "the file is not TOML: %v", err)
		return 0
	}
	at := span{min(max(pe.Position.Start, 0), len(d.text)), min(max(pe.Position.Start+pe.Position.Len, 0), len(d.text))}
	line := max(pe.Position.Line, 1)
	if at.start < len(d.text) && d.text[at.start] == '\n' { // the decoder has counted it already
		line, _ = d.place(at.start)
	}
	if line <= len(d.lines) {
		// An error of the line end is told on the line, not on the next one.
		begin := d.lines[line-1]
		end := begin + len(d.line(line))
		at = span{min(max(at.start, begin), end), min(max(at.end, begin), end)}
	}
	n, _ := d.place(at.start)
	source := d.line(n)
	switch fixed := smartQuotes.Replace(source); {
	case fixed != source && strings.Trim(fixed, " \t") != "":
		i := strings.IndexFunc(source, func(r rune) bool { return smartQuotes.Replace(string(r)) != string(r) })
		from := d.lines[n-1] + i
		_, size := utf8.DecodeRuneInString(source[i:])
		d.report(codeQuotes, span{from, from + size}, strings.TrimSpace(fixed),
			"these are typographic quotes, as word processors make them; the file needs plain ones")
	case slashDate.MatchString(source):
		m := slashDate.FindStringSubmatchIndex(source)
		begin := d.lines[n-1]
		where := span{begin + m[2], begin + m[7]}
		d.report(codeDate, where, d.replaced(where, isoDate(source[m[2]:m[3]], source[m[4]:m[5]], source[m[6]:m[7]])),
			"a date is written year-month-day")
	case strings.Contains(strings.ToLower(pe.Message), "datetime"):
		d.report(codeDate, at, "until = 2027-01-31", "there is no such day, or it is not written year-month-day")
	default:
		d.report(codeSyntax, at, syntaxFix(pe.Message, source), "%s", strings.TrimSuffix(lowerFirst(pe.Message), "."))
	}
	return at.start
}

func isoDate(day, month, year string) string {
	return fmt.Sprintf("%s-%02s-%02s", year, month, day)
}

// syntaxFix guesses what commonly causes a message of the decoder.
func syntaxFix(message, source string) string {
	switch {
	case strings.Contains(message, "already been defined") && singleHeader.MatchString(source):
		return "[" + strings.TrimSpace(source) + "]"
	case strings.Contains(message, "already been defined"):
		return "keep one of the two lines"
	case strings.Contains(message, "escape") || strings.Contains(message, "Escape"):
		return strings.TrimSpace(strings.ReplaceAll(source, `\`, `\\`))
	case strings.Count(source, `"`)%2 == 1:
		return "close the text with a second \" on the same line"
	}
	if key, value, ok := strings.Cut(source, "="); ok && bareWord.MatchString(strings.TrimSpace(value)) {
		return fmt.Sprintf("%s = %q", strings.TrimSpace(key), strings.TrimSpace(value))
	}
	return ""
}

// singleHeader is the header of one table, where the language has lists of them.
var singleHeader = regexp.MustCompile(`^\s*\[(client|pack|allow|deny|publish|test|upstream)\]\s*$`)

var bareWord = regexp.MustCompile(`^[A-Za-z*][-A-Za-z0-9.*/:_]*$`)

func lowerFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}
