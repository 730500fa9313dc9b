// Package scan finds where everything stands in a TOML document: the byte span
// of every key and value, and the index of every item of a list. The decoder
// that judges what is TOML tells neither, and a rules file is corrected by line
// and column.
//
// It is not a TOML parser: it expects a document that the decoder has accepted
// and reads no values. On anything else it gives up with an error, at worst with
// a tree that says less; it never panics.
package scan

import "fmt"

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
	Kind Kind
	// Start and End are the byte span of the value; of a table with a header,
	// the header's.
	Start, End int
	Fields     []Field // of a Table, in the order of the document
	Items      []*Node // of an Array, in order
	Headed     bool    // a Table written with a header, or an Array of such tables
	// Data is for the owner of the tree; scan leaves it nil.
	Data any

	index map[string]int
}

// Field is one key of a table. Start and End are the byte span of the key.
type Field struct {
	Name       string
	Start, End int
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
}

// Scan reads text. Where it cannot go on, the error tells where, and the
// document holds what stands before that.
func Scan(text string) (*Document, error) { return scan(text, func([]string) {}) }

// scan also tells every key it meets, in order, with its full path.
func scan(text string, met func(path []string)) (*Document, error) {
	s := &scanner{text: text, met: met, doc: &Document{Root: &Node{Kind: Table, Headed: true}}}
	s.table = s.doc.Root
	for {
		s.blank()
		if s.at >= len(s.text) {
			return s.doc, nil
		}
		s.doc.Statements = append(s.doc.Statements, s.at)
		if err := s.statement(); err != nil {
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

func (e *Error) Error() string { return fmt.Sprintf("offset %d: %s", e.Offset, e.Reason) }

// MaxDepth is how deep lists and tables may be nested in each other, and how
// many parts a dotted key may have.
const MaxDepth = 32
