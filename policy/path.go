package policy

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Path is a request's path as the rules see it: without query, percent-decoded
// once, "//" as "/", lower case. What is forwarded is what came.
type Path struct {
	norm string
	odd  string // why a rule about paths cannot judge it; empty where it can
}

// NewPath reads the path of a request target, with or without query. It never
// fails: a path that could mean two things is kept as odd, and refused only
// where a rule of its host speaks of paths.
func NewPath(target string) Path {
	raw, _, _ := strings.Cut(target, "?")
	raw, _, _ = strings.Cut(raw, "#")
	if raw == "" {
		raw = "/"
	}
	decoded, odd := decodePath(raw)
	if odd == "" {
		odd = oddSegments(decoded)
	}
	return Path{norm: lowerPath(collapseSlashes(decoded)), odd: odd}
}

// String is the path as the rules see it.
func (p Path) String() string { return p.norm }

// Odd says why rules about paths cannot judge this path, empty where they can.
func (p Path) Odd() string {
	if p.norm == "" {
		return "is not stated"
	}
	return p.odd
}

// decodePath decodes percent-encoding once. Octets whose decoding would change
// how the path is cut (slash, backslash, NUL, percent) make it odd.
func decodePath(raw string) (decoded, odd string) {
	if !strings.Contains(raw, "%") {
		return raw, ""
	}
	var b strings.Builder
	b.Grow(len(raw))
	for i := 0; i < len(raw); i++ {
		if raw[i] != '%' {
			b.WriteByte(raw[i])
			continue
		}
		if i+2 >= len(raw) || unhex(raw[i+1]) < 0 || unhex(raw[i+2]) < 0 {
			return raw, "has a percent sign that encodes nothing"
		}
		c := byte(unhex(raw[i+1])<<4 | unhex(raw[i+2]))
		switch {
		case c == '/', c == '\\', c == 0, c == '%':
			odd = "has an encoded slash, backslash, NUL or percent sign"
		case c == '?', c < ' ', c == 0x7f:
			odd = "has an encoded question mark or control character"
		}
		b.WriteByte(c)
		i += 2
	}
	if decoded = b.String(); odd == "" && disguised(decoded) {
		odd = "has a dot, slash or other sign in disguise"
	}
	return decoded, odd
}

// disguised reports characters that some servers take for signs with a meaning:
// ASCII in more octets than UTF-8 has for it (RFC 3629, section 3), and the wide
// forms that Windows narrows when it has no others.
func disguised(s string) bool {
	for i := range len(s) {
		if i+1 < len(s) && s[i+1]&0xc0 == 0x80 &&
			(s[i]&0xfe == 0xc0 || s[i] == 0xe0 && s[i+1] < 0xa0 || s[i] == 0xf0 && s[i+1] < 0x90) {
			return true
		}
	}
	return strings.ContainsAny(s, "\uff0e\uff0f\uff3c\uff05\uff1b\uff1a\uff1f")
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// oddSegments names what servers are known to cut or drop: a rule that looks at
// the end of a path must not be talked past with it.
func oddSegments(path string) string {
	switch {
	case strings.ContainsAny(path, ";\\\x00"):
		return "has a semicolon, backslash or NUL"
	case strings.Contains(path, "::"):
		return "has \"::\""
	}
	for rest, more := path, true; more; {
		var seg string
		seg, rest, more = strings.Cut(rest, "/")
		switch {
		case seg == "." || seg == "..":
			return "has a dot segment"
		case strings.HasSuffix(seg, ".") || strings.HasSuffix(seg, " "):
			return "has a segment that ends in a dot or space"
		}
	}
	return ""
}

func collapseSlashes(s string) string {
	for strings.Contains(s, "//") {
		s = strings.ReplaceAll(s, "//", "/")
	}
	return s
}

// lowerPath lowers every letter, for Windows file names know no case. A letter
// outside ASCII never becomes one inside (the Kelvin sign is no k), and octets
// that are no UTF-8 stay as they are.
func lowerPath(s string) string {
	lower := lowerASCII(s)
	if strings.IndexFunc(lower, func(r rune) bool { return r >= utf8.RuneSelf }) < 0 {
		return lower
	}
	b := make([]byte, 0, len(lower))
	for len(lower) > 0 {
		r, size := utf8.DecodeRuneInString(lower)
		if low := unicode.ToLower(r); low >= utf8.RuneSelf && (r != utf8.RuneError || size > 1) {
			b = utf8.AppendRune(b, low)
		} else {
			b = append(b, lower[:size]...)
		}
		lower = lower[size:]
	}
	return string(b)
}

// lowerASCII lowers A to Z and nothing else.
func lowerASCII(s string) string {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' {
			b := []byte(s)
			for j := i; j < len(b); j++ {
				if 'A' <= b[j] && b[j] <= 'Z' {
					b[j] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

// Glob is a pattern over paths: a star is any run of characters, slashes too;
// nothing else is special. The zero value matches nothing.
type Glob struct{ text string }

// ParseGlob reads a path glob. It must begin with a slash or a star: anything
// else could never match.
func ParseGlob(s string) (Glob, error) {
	switch {
	case s == "":
		return Glob{}, errors.New("is empty")
	case s[0] != '/' && s[0] != '*':
		return Glob{}, errors.New("begins with neither \"/\" nor \"*\", so no path can match it")
	case strings.Contains(s, "?"):
		return Glob{}, errors.New("has a \"?\"; rules see the path without its query")
	case strings.Contains(s, "%"):
		return Glob{}, errors.New("has a percent sign; rules see the path decoded, so write the character it stands for")
	}
	if odd := oddSegments(strings.ReplaceAll(s, "*", "x")); odd != "" {
		return Glob{}, fmt.Errorf("%s, and a path like that is refused where a rule speaks of paths", odd)
	}
	return Glob{text: collapseSlashes(lowerPath(s))}, nil
}

// String is the glob in its normal form.
func (g Glob) String() string { return g.text }

// Match reports whether the glob names the path.
func (g Glob) Match(p Path) bool { return g.text != "" && matchStars(g.text, p.norm) }

// Binds reports whether the glob, in a types table, holds for its paths
// whichever rule allowed the request: every glob but "*" and "/*" does.
func (g Glob) Binds() bool { return g.text != "*" && g.text != "/*" && g.text != "" }
