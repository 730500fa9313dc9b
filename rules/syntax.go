package rules

import (
	"errors"
	"fmt"
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
	at := d.reportSyntax(err, tree.Statements)
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
	bad := 0
	for r, size := utf8.DecodeRuneInString(d.text); r != utf8.RuneError || size > 1; r, size = utf8.DecodeRuneInString(d.text[bad:]) {
		bad += size
	}
	d.report(codeEncoding, span{bad, bad + 1}, "in Notepad: File, Save As, Encoding: UTF-8",
		"the file is not saved as UTF-8 (Notepad's \"ANSI\"?): this character cannot be read")
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
