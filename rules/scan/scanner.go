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
}

// part is one part of a dotted key.
type part struct {
	name       string
	start, end int
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
	parts, err := s.key()
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
	t := &Node{Kind: Table, Start: start, End: s.at, Headed: true}
	if s.table, err = s.place(under, last, t, opening == "[["); err != nil {
		return err
	}
	s.path = names(nil, parts)
	s.met(s.path)
	return nil
}

// place puts the table of a header under its parent: as the next item of an
// array, as a new table, or as the one that a longer header has implied before.
func (s *scanner) place(under *Node, p part, t *Node, inArray bool) (*Node, error) {
	f, known := under.Field(p.name)
	switch {
	case !known && inArray:
		under.add(p, &Node{Kind: Array, Start: t.Start, End: t.End, Items: []*Node{t}, Headed: true})
	case !known:
		under.add(p, t)
	case inArray && f.Value.Kind == Array:
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
			next := &Node{Kind: Table, Start: p.start, End: p.end}
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
	parts, err := s.key()
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
	path = names(path, parts)
	s.met(path)
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

func names(path []string, parts []part) []string {
	out := make([]string, len(path), len(path)+len(parts))
	copy(out, path)
	for _, p := range parts {
		out = append(out, p.name)
	}
	return out
}
