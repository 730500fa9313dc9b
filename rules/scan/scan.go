// Package scan finds where everything stands in a TOML document: the byte span
// of every key and value, and the index of every item of a list. The decoder
// that judges what is TOML tells neither, and a rules file is corrected by line
// and column.
//
// It is not a TOML parser: it expects a document that the decoder has accepted
// and reads no values. On anything else it gives up with an error, at worst with
// a tree that says less; it never panics.
package scan

import (
	"fmt"
	"math"
)

// Kind is the shape of a node.
type Kind uint8

// The shapes.
const (
	Leaf Kind = iota
	Array
	Table
)

// Node is one value of a document.
type Node struct {
	Kind   Kind
	Headed bool // a Table written with a header, or an Array of such tables
	// Start and End are the byte span of the value; of a table with a header,
	// the header's. A file may have a million nodes, so they are small.
	Start, End int32
	Fields     []Field // of a Table, in the order of the document
	Items      []*Node // of an Array, in order
	// Data is for the owner of the tree; scan leaves it nil.
	Data any

	index map[string]int
}

// Field is one key of a table. Start and End are the byte span of the key.
type Field struct {
	Name       string
	Start, End int32
	Value      *Node
}

// fewFields is how many keys a table may have before it gets an index: most have
// less than a dozen, and a file may have a hundred thousand tables.
const fewFields = 16

// Field finds a key of a table.
func (n *Node) Field(name string) (*Field, bool) {
	if n.index != nil {
		i, ok := n.index[name]
		if !ok {
			return nil, false
		}
		return &n.Fields[i], true
	}
	for i := range n.Fields {
		if n.Fields[i].Name == name {
			return &n.Fields[i], true
		}
	}
	return nil, false
}

func (n *Node) add(p part, v *Node) {
	if n.Fields == nil {
		n.Fields = make([]Field, 0, 2) // a table with one key is rare
	}
	n.Fields = append(n.Fields, Field{p.name, p.start, p.end, v})
	if n.index == nil && len(n.Fields) > fewFields {
		n.index = make(map[string]int, 2*len(n.Fields))
		for i := range n.Fields {
			n.index[n.Fields[i].Name] = i
		}
	}
	if n.index != nil {
		n.index[p.name] = len(n.Fields) - 1
	}
}

// Document is what Scan found.
type Document struct {
	Root *Node
	// Statements are the offsets at which headers and key/value pairs begin,
	// in order.
	Statements []int
	// Sections are the offsets at which headers [[name]] begin. Where Apart is
	// set, what stands between two of them can be read without the rest: no
	// header elsewhere speaks of the same table.
	Sections []int
	Apart    bool
}

// MaxText is the longest document, in bytes, that Scan reads.
const MaxText = math.MaxInt32

// Scan reads text. Where it cannot go on, the error tells where, and the
// document holds what stands before that.
func Scan(text string) (*Document, error) { return scan(text, nil) }

// scan also tells every key it meets, in order, with its full path.
func scan(text string, met func(path []string)) (*Document, error) {
	s := &scanner{text: text, met: met, doc: &Document{Root: &Node{Kind: Table, Headed: true}, Apart: true}}
	s.table = s.doc.Root
	if len(text) > MaxText {
		s.doc.Apart = false
		return s.doc, s.fail("a document longer than 2 GiB")
	}
	for {
		s.blank()
		if s.at >= len(s.text) {
			return s.doc, nil
		}
		s.doc.Statements = append(s.doc.Statements, s.at)
		if err := s.statement(); err != nil {
			s.doc.Apart = false
			return s.doc, err
		}
	}
}

// Error is where and why the scanner gave up.
type Error struct {
	Offset int
	Reason string
	// Deep says that lists, tables or dotted keys are nested deeper than
	// MaxDepth. A decoder that follows them by recursion would run out of stack,
	// and that ends a Go process.
	Deep bool
}

// Error says the octet at which reading stopped, counted from 0, and why.
func (e *Error) Error() string { return fmt.Sprintf("offset %d: %s", e.Offset, e.Reason) }

// MaxDepth is how deep lists and tables may be nested in each other, and how
// many parts a dotted key may have.
const MaxDepth = 32
