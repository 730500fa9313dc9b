package flow

import (
	"strconv"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxField is the number of octets kept of any field that came from the wire.
const MaxField = 512

// clip cuts a field to MaxField octets, never inside a character.
func clip(s string) string { return clipTo(s, MaxField) }

func clipTo(s string, most int) string {
	if len(s) <= most {
		return s
	}
	end := most
	for end > max(0, most-utf8.UTFMax) && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}

const (
	hexDigits = "0123456789abcdef"
	upperHex  = "0123456789ABCDEF"
)

// plain are the octets that a JSON string of ours holds as they are.
var plain = func() (is [256]bool) {
	for c := byte(' '); c < 0x7f; c++ {
		is[c] = c != '"' && c != '\\'
	}
	return is
}()

// plainPrefix is how many octets at the beginning of s are plain.
func plainPrefix(s string) int {
	n := 0
	for n+8 <= len(s) && allPlain(s[n:n+8]) {
		n += 8
	}
	if last := len(s) - 8; 0 <= last && last < n && allPlain(s[last:]) {
		return len(s)
	}
	for n < len(s) && plain[s[n]] {
		n++
	}
	return n
}

// allPlain reports whether all eight octets of s are plain, which it asks of them
// at once: each term sets the highest bit of an octet that is not. A borrow or a
// carry reaches only octets above one that has set its bit already.
func allPlain(s string) bool {
	const each, high = 0x0101010101010101, 0x8080808080808080
	w := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
	quote, backslash := w^each*'"', w^each*'\\'
	return (w|(w+each)|(w-each*' ')|(quote-each)|(backslash-each))&high == 0
}

// appendEscaped writes s as the inside of a JSON string (RFC 8259, section 7). More
// is escaped than JSON asks: a log is read in terminals, so nothing that is not
// printable stays as it is. Octets that are not UTF-8 become U+FFFD.
func appendEscaped(dst []byte, s string) []byte {
	for {
		n := plainPrefix(s)
		dst = append(dst, s[:n]...)
		if s = s[n:]; s == "" {
			return dst
		}
		size := 0
		dst, size = appendJSONRune(dst, s)
		s = s[size:]
	}
}

// appendJSONRune writes the first character of s, which is not a plain one.
func appendJSONRune(dst []byte, s string) (with []byte, size int) {
	r, size := utf8.DecodeRuneInString(s)
	switch {
	case r == utf8.RuneError && size == 1:
		return append(dst, `\ufffd`...), size
	case r == '"' || r == '\\':
		return append(dst, '\\', byte(r)), size
	case unicode.IsPrint(r):
		return append(dst, s[:size]...), size
	}
	return appendJSONEscape(dst, r), size
}

func appendJSONEscape(dst []byte, r rune) []byte {
	if r > 0xffff {
		high, low := utf16.EncodeRune(r)
		return appendJSONEscape(appendJSONEscape(dst, high), low)
	}
	return append(dst, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
}

// appendToken writes s as one field of a line whose fields are parted by
// spaces: everything but printable ASCII, and the percent sign, is
// percent-encoded; an empty field is a dash.
func appendToken(dst []byte, s string) []byte {
	return appendField(dst, s, upperHex, func(c byte) bool { return c <= ' ' || c >= 0x7f || c == '%' })
}

// appendUser is appendToken with the small digits that Squid gives to users' names.
func appendUser(dst []byte, s string) []byte {
	return appendField(dst, s, hexDigits, func(c byte) bool { return c <= ' ' || c >= 0x7f || c == '%' })
}

// appendURL writes s, a URL, in the same way but for the percent sign, which
// there is encoding already: Squid does not encode it again
// (rfc1738_escape_unescaped).
func appendURL(dst []byte, s string) []byte {
	return appendField(dst, s, upperHex, func(c byte) bool { return c <= ' ' || c >= 0x7f })
}

func appendField(dst []byte, s, digits string, escaped func(byte) bool) []byte {
	s = clip(s)
	if s == "" {
		return append(dst, '-')
	}
	for i := range len(s) {
		c := s[i]
		if escaped(c) {
			dst = append(dst, '%', digits[c>>4], digits[c&15])
			continue
		}
		dst = append(dst, c)
	}
	return dst
}

// appendPadded writes n right-aligned in width places, filled with pad.
func appendPadded(dst []byte, n int64, width int, pad byte) []byte {
	var digits [20]byte
	text := strconv.AppendInt(digits[:0], n, 10)
	for range width - len(text) {
		dst = append(dst, pad)
	}
	return append(dst, text...)
}
