package rules

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"

	"gatehouse/rules/scan"
)

// parse reads a file into a document. Where the decoder stops, what is wrong is
// told, and the rest is read as if the line said what it plainly means; where
// that is not plain, the statement is torn out. So one run tells every syntax
// error, and what is wrong with the sound parts as well.
func parse(name string, raw []byte) *document {
	d := newDocument(name, strings.TrimPrefix(string(raw), byteOrderMark))
	d.root = &scan.Node{Kind: scan.Table}
	if !d.readable(raw) {
		d.giveUp()
		return d
	}
	d.whole = true
	for left := mostRead; ; left -= len(d.text) {
		tree, err := scan.Scan(d.text)
		if deep := (*scan.Error)(nil); errors.As(err, &deep) && deep.Deep {
			d.report(codeSyntax, span{deep.Offset, deep.Offset + 1}, "", "%s", deep.Reason)
			d.giveUp()
			return d
		}
		err = d.take(tree, pieceSize)
		if err == nil {
			return d
		}
		last := len(d.problems) >= mostSyntaxErrors || left < 2*len(d.text)
		if !d.mend(err, tree.Statements, last) {
			return d
		}
	}
}

// mostRead bounds, in bytes, how much is read again to find further syntax
// errors, and mostSyntaxErrors how many are looked for.
const (
	mostRead         = 32 << 20
	mostSyntaxErrors = 100
)

// readable refuses what is not UTF-8 before anything else is tried.
func (d *document) readable(raw []byte) bool {
	head := raw[:min(len(raw), 64)]
	switch {
	case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")), bytes.IndexByte(head, 0) >= 0:
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

// pieceSize is how much text, in bytes, the decoder is given at once where it
// need not have the whole: what it knows of a large file costs many times the
// file.
const pieceSize = 256 << 10

// take joins the values of the decoder with the places of the scanner.
func (d *document) take(tree *scan.Document, size int) error {
	taken := make(map[string]int, len(tree.Root.Fields))
	for start := 0; ; {
		end := pieceEnd(tree, start, size, len(d.text))
		values, err := decode(d.text[start:end])
		if err != nil {
			return d.moved(err, start)
		}
		if !joinPiece(tree.Root, values, taken) {
			return errDisagree
		}
		if start = end; start == len(d.text) {
			break
		}
	}
	for _, f := range tree.Root.Fields {
		if n, ok := taken[f.Name]; !ok || f.Value.Kind == scan.Array && f.Value.Headed && n != len(f.Value.Items) {
			return errDisagree
		}
	}
	d.root = tree.Root
	return nil
}

// errDisagree: the fuzz test of package scan says that this does not happen.
var errDisagree = errors.New("its keys and their places do not agree")

// pieceEnd is where the piece that begins at start ends: at the last header
// before its size is reached, and at any rate behind one section.
func pieceEnd(tree *scan.Document, start, size, whole int) int {
	if !tree.Apart || whole-start <= size {
		return whole
	}
	i, _ := slices.BinarySearch(tree.Sections, start+size)
	if i > 0 && tree.Sections[i-1] > start {
		return tree.Sections[i-1]
	}
	if i < len(tree.Sections) {
		return tree.Sections[i]
	}
	return whole
}

// moved is an error of a piece as one of the whole text.
func (d *document) moved(err error, start int) error {
	var pe toml.ParseError
	if start == 0 || !errors.As(err, &pe) {
		return err
	}
	pe.Position.Start += start
	pe.Position.Line += d.lineOf(start) - 1
	return pe
}

// joinPiece joins the values of one piece. taken counts the tables of each name
// that earlier pieces had.
func joinPiece(root *scan.Node, values map[string]any, taken map[string]int) bool {
	for name, value := range values {
		f, ok := root.Field(name)
		if !ok {
			return false
		}
		tables, listed := value.([]map[string]any)
		if !listed || !f.Value.Headed {
			taken[name]++
			if !join(f.Value, value) {
				return false
			}
			continue
		}
		first := taken[name]
		if taken[name] += len(tables); taken[name] > len(f.Value.Items) || !joinItems(f.Value.Items[first:taken[name]], tables) {
			return false
		}
	}
	return true
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
		return n.Kind == scan.Array && joinItems(n.Items, v)
	case []any:
		return n.Kind == scan.Array && joinItems(n.Items, v)
	default:
		n.Data = v
		return n.Kind == scan.Leaf
	}
	return true
}

func joinItems[T any](nodes []*scan.Node, items []T) bool {
	if len(nodes) != len(items) {
		return false
	}
	for i, item := range items {
		if !join(nodes[i], item) {
			return false
		}
	}
	return true
}
