package scan

import (
	"strconv"
	"strings"
)

// key reads a dotted key and the white space behind it, and appends its parts.
func (s *scanner) key(parts []part) ([]part, error) {
	for {
		s.spaces()
		p, err := s.keyPart()
		if err != nil {
			return nil, err
		}
		if parts = append(parts, p); len(parts) > MaxDepth {
			return nil, s.tooDeep()
		}
		s.spaces()
		if !s.has(".") {
			return parts, nil
		}
		s.at++
	}
}

func (s *scanner) keyPart() (part, error) {
	start := s.at
	if s.has(`"`) || s.has("'") {
		quote := s.text[s.at]
		if err := s.quoted(); err != nil {
			return part{}, err
		}
		name := s.text[start+1 : s.at-1]
		if quote == '"' {
			name = unescape(name)
		}
		return part{name, int32(start), int32(s.at)}, nil
	}
	for s.at < len(s.text) && !strings.ContainsRune(" \t\r\n.=[]{}\"'#,", rune(s.text[s.at])) {
		s.at++
	}
	if s.at == start {
		return part{}, s.fail("no key")
	}
	return part{s.text[start:s.at], int32(start), int32(s.at)}, nil
}

func (s *scanner) value(path []string) (*Node, error) {
	if s.depth++; s.depth > MaxDepth {
		return nil, s.tooDeep()
	}
	defer func() { s.depth-- }()
	start := s.at
	var n *Node
	var err error
	switch {
	case s.has("["):
		n, err = s.array(path)
	case s.has("{"):
		n, err = s.inline(path)
	case s.has(`"""`) || s.has("'''"):
		n, err = s.node(Leaf), s.multiline()
	case s.has(`"`) || s.has("'"):
		n, err = s.node(Leaf), s.quoted()
	default:
		n, err = s.node(Leaf), s.bare()
	}
	if err != nil {
		return nil, err
	}
	n.Start, n.End = int32(start), int32(s.at)
	return n, nil
}

func (s *scanner) array(path []string) (*Node, error) {
	n := s.node(Array)
	s.at++
	for {
		s.blank()
		if s.has("]") {
			s.at++
			return n, nil
		}
		v, err := s.value(path)
		if err != nil {
			return nil, err
		}
		n.Items = append(n.Items, v)
		if err := s.comma("]"); err != nil {
			return nil, err
		}
	}
}

func (s *scanner) inline(path []string) (*Node, error) {
	n := s.node(Table)
	s.at++
	for {
		s.blank()
		if s.has("}") {
			s.at++
			return n, nil
		}
		if err := s.pair(n, path); err != nil {
			return nil, err
		}
		if err := s.comma("}"); err != nil {
			return nil, err
		}
	}
}

// comma reads the comma behind an item, or stops before the end of the list.
func (s *scanner) comma(end string) error {
	s.blank()
	switch {
	case s.has(","):
		s.at++
	case !s.has(end):
		return s.fail("neither a comma nor the end of a list")
	}
	return nil
}

// quoted reads a string of one line.
func (s *scanner) quoted() error {
	quote := s.text[s.at]
	for i := s.at + 1; i < len(s.text); i++ {
		switch c := s.text[i]; {
		case c == quote:
			s.at = i + 1
			return nil
		case c == '\\' && quote == '"':
			i++
		case c == '\n':
			return s.fail("a string that does not end on its line")
		}
	}
	return s.fail("a string without its end")
}

// multiline reads a string between three quotes; up to two more may stand right
// before the closing ones and belong to the string.
func (s *scanner) multiline() error {
	quotes := s.text[s.at : s.at+3]
	for i := s.at + 3; i < len(s.text); i++ {
		if s.text[i] == '\\' && quotes[0] == '"' {
			i++
			continue
		}
		if !strings.HasPrefix(s.text[i:], quotes) {
			continue
		}
		i += 3
		for more := 0; more < 2 && i < len(s.text) && s.text[i] == quotes[0]; more++ {
			i++
		}
		s.at = i
		return nil
	}
	return s.fail("a string without its end")
}

// bare reads a number, a date or a word.
func (s *scanner) bare() error {
	end := strings.IndexAny(s.text[s.at:], ",]}#\r\n")
	if end < 0 {
		end = len(s.text) - s.at
	}
	value := strings.TrimRight(s.text[s.at:s.at+end], " \t")
	if value == "" {
		return s.fail("no value")
	}
	s.at += len(value)
	return nil
}

var escapes = map[byte]byte{'b': '\b', 't': '\t', 'n': '\n', 'f': '\f', 'r': '\r', 'e': 0x1b, '"': '"', '\\': '\\'}

// digits is how many hexadecimal digits follow an escape letter.
var digits = map[byte]int{'x': 2, 'u': 4, 'U': 8}

// unescape resolves the escapes of a quoted key.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		n := digits[s[i]]
		if n == 0 || i+n >= len(s) {
			b.WriteByte(escapes[s[i]])
			continue
		}
		code, err := strconv.ParseUint(s[i+1:i+1+n], 16, 32)
		if err != nil {
			code = 0xFFFD
		}
		b.WriteRune(rune(code))
		i += n
	}
	return b.String()
}
