package scan

import (
	"fmt"
	"strings"
)

type scanner struct {
	text  string
	at    int
	doc   *Document
	table *Node    // of the last header
	path  []string // of the last header
	met   func(path []string)
	depth int // of lists and inline tables around the scanner
	// section is the name of the last header [[name]], free are nodes made in
	// advance: many small ones would cost the collector more than a few large.
	section string
	free    []Node
}

// node makes a node.
func (s *scanner) node(kind Kind) *Node {
	if len(s.free) == 0 {
		s.free = make([]Node, 64)
	}
	n := &s.free[0]
	s.free = s.free[1:]
	n.Kind = kind
	return n
}

// part is one part of a dotted key.
type part struct {
	name       string
	start, end int32
}

func (s *scanner) fail(reason string) error { return &Error{Offset: s.at, Reason: reason} }

func (s *scanner) tooDeep() error {
	return &Error{Offset: s.at, Reason: fmt.Sprintf("nested deeper than %d", MaxDepth), Deep: true}
}

func (s *scanner) has(prefix string) bool { return strings.HasPrefix(s.text[s.at:], prefix) }

// blank skips white space, line ends and comments.
func (s *scanner) blank() {
	for s.at < len(s.text) {
		switch s.text[s.at] {
		case ' ', '\t', '\r', '\n':
			s.at++
		case '#':
			end := strings.IndexByte(s.text[s.at:], '\n')
			if end < 0 {
				s.at = len(s.text)
				return
			}
			s.at += end
		default:
			return
		}
	}
}

func (s *scanner) spaces() {
	for s.at < len(s.text) && (s.text[s.at] == ' ' || s.text[s.at] == '\t') {
		s.at++
	}
}

func (s *scanner) statement() error {
	switch {
	case s.has("[["):
		return s.header("[[", "]]")
	case s.has("["):
		return s.header("[", "]")
	}
	return s.pair(s.table, s.path)
}

func (s *scanner) header(opening, closing string) error {
	start := s.at
	s.at += len(opening)
	var few [fewParts]part
	parts, err := s.key(few[:0])
	if err != nil {
		return err
	}
	if !s.has(closing) {
		return s.fail("a header without its end")
	}
	s.at += len(closing)
	last := parts[len(parts)-1]
	under, err := s.descend(s.doc.Root, parts[:len(parts)-1])
	if err != nil {
		return err
	}
	s.cut(parts, start, opening == "[[")
	t := s.node(Table)
	t.Start, t.End, t.Headed = int32(start), int32(s.at), true
	if s.table, err = s.place(under, last, t, opening == "[["); err != nil {
		return err
	}
	s.path = s.tell(nil, parts)
	return nil
}

// cut notes where a section begins, and whether the document is one of sections.
func (s *scanner) cut(parts []part, start int, inArray bool) {
	before := strings.TrimRight(s.text[:start], " \t")
	switch {
	case before != "" && before[len(before)-1] != '\n': // behind something on its line
		s.doc.Apart = false
	case inArray && len(parts) == 1:
		s.doc.Sections = append(s.doc.Sections, start)
		s.section = parts[0].name
	case len(parts) == 1 || len(s.doc.Sections) == 0 || parts[0].name != s.section:
		s.doc.Apart = false
	}
}

// place puts the table of a header under its parent: as the next item of an
// array, as a new table, or as the one that a longer header has implied before.
func (s *scanner) place(under *Node, p part, t *Node, inArray bool) (*Node, error) {
	f, known := under.Field(p.name)
	switch {
	case !known && inArray:
		a := s.node(Array)
		a.Start, a.End, a.Items, a.Headed = t.Start, t.End, []*Node{t}, true
		under.add(p, a)
	case !known:
		under.add(p, t)
	case inArray && f.Value.Kind == Array && f.Value.Headed:
		f.Value.Items = append(f.Value.Items, t)
	case !inArray && f.Value.Kind == Table:
		f.Value.Start, f.Value.End, f.Value.Headed = t.Start, t.End, true
		return f.Value, nil
	case !inArray && f.Value.Kind == Array:
		f.Value = t
	default:
		return nil, s.fail("a header for what is no table")
	}
	return t, nil
}

// descend goes down from a table, implying tables on the way.
func (s *scanner) descend(n *Node, parts []part) (*Node, error) {
	for _, p := range parts {
		f, known := n.Field(p.name)
		if !known {
			next := s.node(Table)
			next.Start, next.End = p.start, p.end
			n.add(p, next)
			n = next
			continue
		}
		n = f.Value
		if n.Kind == Array && len(n.Items) > 0 {
			n = n.Items[len(n.Items)-1]
		}
		if n.Kind != Table {
			return nil, s.fail("a key below what is no table")
		}
	}
	return n, nil
}

// pair reads "key = value" into a table.
func (s *scanner) pair(table *Node, path []string) error {
	var few [fewParts]part
	parts, err := s.key(few[:0])
	if err != nil {
		return err
	}
	if !s.has("=") {
		return s.fail("a key without \"=\"")
	}
	s.at++
	s.spaces()
	under, err := s.descend(table, parts[:len(parts)-1])
	if err != nil {
		return err
	}
	path = s.tell(path, parts)
	v, err := s.value(path)
	if err != nil {
		return err
	}
	last := parts[len(parts)-1]
	if f, known := under.Field(last.name); known {
		f.Value = v
		return nil
	}
	under.add(last, v)
	return nil
}

// fewParts is how many parts a key has as a rule: so many cost no memory.
const fewParts = 4

// tell tells a key that was met, if anybody listens, and gives its full path.
func (s *scanner) tell(path []string, parts []part) []string {
	if s.met == nil {
		return nil
	}
	out := make([]string, len(path), len(path)+len(parts))
	copy(out, path)
	for _, p := range parts {
		out = append(out, p.name)
	}
	s.met(out)
	return out
}
