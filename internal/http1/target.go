package http1

import (
	"bytes"
	"net/netip"
)

// Form is the form of a request target (RFC 9112, section 3.2).
type Form uint8

// The forms. The zero value is no form.
const (
	OriginForm    Form = iota + 1 // /path?query
	AbsoluteForm                  // http://host/path?query
	AuthorityForm                 // host:port, of CONNECT
	AsteriskForm                  // *, of OPTIONS
)

// Authority is a host and a port as they were written. Whether the host is one
// that may be asked is not judged here.
type Authority struct {
	Host []byte // letters, digits and -._~, or an IPv6 address in its brackets
	Port uint16 // 0 where none was stated
}

// Target is a request target in its parts.
type Target struct {
	Form      Form
	Scheme    []byte    // of the absolute form, as it was written
	Authority Authority // of the absolute and the authority form
	Path      []byte    // as it was written, no query; empty in "http://host"
	Query     []byte    // without "?"; nil where there is none
}

// checkTarget finds the first byte that no request target may have. Visible
// characters which a URI must percent-encode (RFC 3986, section 2: []{}|^` and,
// in a query, \ and a lone %) pass: browsers send them as they are (URL standard,
// "query percent-encode set"), and none of them can be taken for the end of the
// target. A backslash or a malformed escape in a path is refused by checkPath,
// for it changes which path is meant.
func checkTarget(b []byte) error {
	i := span(b, classTarget)
	if i == len(b) {
		return nil
	}
	switch b[i] {
	case '#':
		return ErrTargetFragment
	case '\r':
		return ErrBareCR
	}
	return ErrTarget
}

// parse reads a whole target whose bytes were checked.
func (t *Target) parse(method, b []byte) error {
	*t = Target{}
	switch {
	case string(method) == "CONNECT":
		// RFC 9110, section 9.3.6: an empty or invalid port is refused.
		a, ok := parseAuthority(b)
		if !ok || a.Port == 0 {
			return ErrTargetConnect
		}
		t.Form, t.Authority = AuthorityForm, a
		return nil
	case b[0] == '/':
		t.Form = OriginForm
		return t.split(b)
	case string(b) == "*":
		if string(method) != "OPTIONS" {
			return ErrTargetAsterisk
		}
		t.Form = AsteriskForm
		return nil
	}
	return t.absolute(b)
}

// absolute reads scheme "://" authority path [ "?" query ].
func (t *Target) absolute(b []byte) error {
	i := bytes.IndexByte(b, ':')
	if i < 0 || !isScheme(b[:i]) || !bytes.HasPrefix(b[i:], []byte("://")) {
		return ErrTargetForm
	}
	t.Form, t.Scheme = AbsoluteForm, b[:i]
	rest := b[i+len("://"):]
	end := bytes.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	if bytes.IndexByte(rest[:end], '@') >= 0 {
		return ErrTargetUserinfo
	}
	a, ok := parseAuthority(rest[:end])
	if !ok {
		return ErrTargetAuthority
	}
	t.Authority = a
	return t.split(rest[end:])
}

// isScheme follows RFC 3986, section 3.1.
func isScheme(b []byte) bool {
	if len(b) == 0 || !is(b[0], classAlpha) {
		return false
	}
	for _, c := range b {
		if !is(c, classAlpha|classDigit) && c != '+' && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

func (t *Target) split(b []byte) error {
	t.Path = b
	if i := bytes.IndexByte(b, '?'); i >= 0 {
		t.Path, t.Query = b[:i], b[i+1:]
	}
	return checkPath(t.Path)
}

func checkPath(b []byte) error {
	for i, c := range b {
		switch {
		case c == '\\':
			return ErrTargetEscape
		case c == '%' && (len(b)-i < 3 || !is(b[i+1], classHex) || !is(b[i+2], classHex)):
			return ErrTargetEscape
		}
	}
	return nil
}

// parseAuthority reads uri-host [ ":" port ] (RFC 9110, section 4.2.1). Of what a
// registered name may have only the unreserved characters pass: the others are no
// part of any name in the DNS (RFC 3986, section 3.2.2).
func parseAuthority(b []byte) (a Authority, ok bool) {
	rest := b
	if len(b) > 0 && b[0] == '[' {
		end := bytes.IndexByte(b, ']')
		if end < 0 {
			return a, false
		}
		addr, err := netip.ParseAddr(string(b[1:end]))
		if err != nil || !addr.Is6() || addr.Zone() != "" {
			return a, false
		}
		a.Host, rest = b[:end+1], b[end+1:]
	} else {
		n := span(b, className)
		if n == 0 || n > 255 {
			return a, false
		}
		a.Host, rest = b[:n], b[n:]
	}
	switch {
	case len(rest) == 0:
		return a, true
	case rest[0] != ':':
		return a, false
	}
	a.Port, ok = parsePort(rest[1:])
	return a, ok
}

// parsePort reads a port; none after the colon means the scheme's own (RFC 3986,
// section 3.2.3). Zero and leading zeros are refused: readers disagree on them.
func parsePort(b []byte) (port uint16, ok bool) {
	if len(b) == 0 {
		return 0, true
	}
	n := 0
	for _, c := range b {
		if !is(c, classDigit) || n > 65535 {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return uint16(n), b[0] != '0' && n <= 65535
}

// same reports whether two authorities name the same host and port, where a port
// that is not stated is the scheme's own. A final dot makes no difference: some
// clients take it off their Host field.
func (a Authority) same(b Authority, port uint16) bool {
	if a.Port != 0 || b.Port != 0 {
		if cmpPort(a.Port, port) != cmpPort(b.Port, port) {
			return false
		}
	}
	return equalFoldBytes(bytes.TrimSuffix(a.Host, []byte(".")), bytes.TrimSuffix(b.Host, []byte(".")))
}

func cmpPort(stated, scheme uint16) uint16 {
	if stated == 0 {
		return scheme
	}
	return stated
}

// Append appends the authority as it was written, without an empty port.
func (a Authority) Append(dst []byte) []byte {
	dst = append(dst, a.Host...)
	if a.Port == 0 {
		return dst
	}
	return appendDecimal(append(dst, ':'), int64(a.Port))
}
