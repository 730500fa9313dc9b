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
func clip(s string) string {
	if len(s) <= MaxField {
		return s
	}
	end := MaxField
	for end > MaxField-utf8.UTFMax && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}

const (
	hexDigits = "0123456789abcdef"
	upperHex  = "0123456789ABCDEF"
)

// appendJSONString writes s as a JSON string (RFC 8259, section 7). More is
// escaped than JSON asks: a log is read in terminals, so nothing that is not
// printable stays as it is. Octets that are not UTF-8 become U+FFFD.
func appendJSONString(dst []byte, s string) []byte {
	s = clip(s)
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			dst = appendJSONASCII(dst, c)
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			dst = append(dst, `\ufffd`...)
		case unicode.IsPrint(r):
			dst = append(dst, s[i:i+size]...)
		default:
			dst = appendJSONEscape(dst, r)
		}
		i += size
	}
	return append(dst, '"')
}

func appendJSONASCII(dst []byte, c byte) []byte {
	switch {
	case c == '"' || c == '\\':
		return append(dst, '\\', c)
	case c < 0x20 || c == 0x7f:
		return appendJSONEscape(dst, rune(c))
	}
	return append(dst, c)
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
	s = clip(s)
	if s == "" {
		return append(dst, '-')
	}
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || c == '%' {
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
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
