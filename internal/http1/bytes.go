package http1

import (
	"bytes"
	"encoding/binary"
)

// The classes a byte may belong to.
const (
	classToken  = 1 << iota // tchar, RFC 9110, section 5.6.2
	classValue              // field-vchar, SP and HTAB, RFC 9110, section 5.5
	classTarget             // what may stand in a request target, see checkTarget
	className               // unreserved, RFC 3986, section 2.3: of a host name
	classHex                // HEXDIG
	classAlpha
	classDigit
)

var classes = classify()

func classify() (table [256]uint8) {
	for i := range table {
		c := byte(i)
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		digit := '0' <= c && c <= '9'
		put := func(class uint8, member bool) {
			if member {
				table[i] |= class
			}
		}
		put(classAlpha, letter)
		put(classDigit, digit)
		put(classHex, digit || 'a' <= c|0x20 && c|0x20 <= 'f')
		put(classToken, letter || digit || bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), c) >= 0)
		put(classValue, c == '\t' || c >= ' ' && c != 0x7f)
		put(classTarget, c > ' ' && c < 0x7f && bytes.IndexByte([]byte(`"<>#`), c) < 0)
		put(className, letter || digit || bytes.IndexByte([]byte("-._~"), c) >= 0)
	}
	return table
}

func is(c byte, class uint8) bool { return classes[c]&class != 0 }

// span is how many leading bytes of b are of the class.
func span(b []byte, class uint8) int {
	for i, c := range b {
		if classes[c]&class == 0 {
			return i
		}
	}
	return len(b)
}

func isToken(b []byte) bool { return len(b) > 0 && span(b, classToken) == len(b) }

// valueSpan is span(b, classValue), eight bytes at a time: values are most of
// what a head consists of.
func valueSpan(b []byte) int {
	const low, high = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(b); i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		del := w ^ low*0x7f
		// Some byte is below SP, or is DEL: the classic test for a byte less
		// than n, exact about whether there is one.
		if ((w-low*' ')&^w|(del-low)&^del)&high != 0 {
			break // perhaps an HTAB only
		}
	}
	return i + span(b[i:], classValue)
}

// trim takes the optional white space (OWS, RFC 9110, section 5.6.3) off both
// ends.
func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// member takes the first member off a comma-separated list (RFC 9110, section
// 5.6.1); rest is nil after the last. Members may be empty.
func member(list []byte) (first, rest []byte) {
	if i := bytes.IndexByte(list, ','); i >= 0 {
		return trim(list[:i]), list[i+1:]
	}
	return trim(list), nil
}

func lower(c byte) byte {
	if c-'A' < 26 {
		c += 'a' - 'A'
	}
	return c
}

// equalFold reports whether b is s, which is in lower case, in ASCII's sense.
func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i, c := range b {
		if lower(c) != s[i] {
			return false
		}
	}
	return true
}

// equalFoldBytes reports whether a and b are the same in ASCII's sense.
func equalFoldBytes[T string | []byte](a []byte, b T) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}
