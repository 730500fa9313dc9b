package http1

import (
	"errors"
	"strconv"
)

// Field is a field of the gate's own, made by NewField.
type Field struct{ name, value string }

// NewField makes a field that can be emitted. The framing and the routing of a
// message are not set this way.
func NewField(name, value string) (Field, error) {
	n := []byte(name)
	switch nameOf(n) {
	case Connection, ContentLength, Host, TransferEncoding, Upgrade:
		return Field{}, errors.New("the field " + name + " is written by the head itself")
	}
	if !isToken(n) {
		return Field{}, errors.New("a field name must be a token (RFC 9110, section 5.1)")
	}
	v := []byte(value)
	if valueSpan(v) != len(v) || len(trim(v)) != len(v) {
		return Field{}, errors.New("the value of the field " + name + " has a control character, or white space around it (RFC 9110, section 5.5)")
	}
	return Field{name, value}, nil
}

// ParsePseudonym checks that a name can stand for the gate in Via.
func ParsePseudonym(name string) (Pseudonym, error) {
	if !isToken([]byte(name)) {
		return Pseudonym{}, errors.New("the name of a gate must be a token (RFC 9110, section 7.6.3)")
	}
	return Pseudonym{name}, nil
}

// Changes is what a gate makes of a head on its way. The zero value passes it on
// as it must be: for one hop alone is nothing left of what was received.
type Changes struct {
	Via       Pseudonym // added to Via; the zero value adds nothing
	Set       []Field   // come last, and replace what was received under their names
	Drop      []string  // more names that are not passed on
	Upgrade   bool      // pass Upgrade on, and say so in Connection
	Close     bool      // say that the connection ends after this message
	KeepAlive bool      // say that it does not, as HTTP/1.0 clients need
}

// AppendRequest appends the head with which r is asked of the next hop: in
// absolute form of a parent proxy, else in origin form; CONNECT always in
// authority form. The version is HTTP/1.1; the Host is the target's authority, and
// r.Body is declared. Names keep their case and fields their order. The caller has
// judged r.HostMismatch and the scheme, and has somebody to ask: where neither target
// nor Host names an authority, or another one is meant (a tunnel's), it sets
// r.Target.Authority or r.Host first.
func AppendRequest(dst []byte, r *Request, absolute bool, c *Changes) []byte {
	dst = append(append(dst, r.Method...), ' ')
	dst = appendTarget(dst, r, absolute)
	dst = append(dst, " HTTP/1.1\r\nHost: "...)
	dst = append(r.Authority().Append(dst), "\r\n"...)
	dst = appendFields(dst, &r.Fields, r.Minor, c)
	return appendEnd(dst, r.Body, r.Minor, c)
}

func appendTarget(dst []byte, r *Request, absolute bool) []byte {
	t := &r.Target
	if t.Form == AuthorityForm {
		return t.Authority.Append(dst)
	}
	if absolute {
		if t.Scheme == nil {
			dst = append(dst, "http"...)
		}
		dst = append(append(dst, t.Scheme...), "://"...)
		dst = r.Authority().Append(dst)
	}
	switch {
	case len(t.Path) > 0:
		dst = append(dst, t.Path...)
	case string(r.Method) != "OPTIONS" || t.Query != nil:
		dst = append(dst, '/')
	case !absolute: // RFC 9112, section 3.2.4: the last proxy asks for the server as such
		dst = append(dst, '*')
	}
	if t.Query != nil {
		dst = append(append(dst, '?'), t.Query...)
	}
	return dst
}

// AppendResponse appends the head with which r is passed back, declaring the given
// body: r.Declared, or what the caller makes of it for its client, where NoBody and
// UntilClose declare nothing. A body that 1xx, 204 and an open tunnel cannot have is
// not declared. The version is HTTP/1.1, the gate's own, whatever the client's (RFC
// 9112, section 2.3).
func AppendResponse(dst []byte, r *Response, declare Body, c *Changes) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = append(appendDecimal(dst, int64(r.Status)), ' ')
	dst = append(append(dst, r.Reason...), "\r\n"...)
	dst = appendFields(dst, &r.Fields, r.Minor, c)
	if r.Status < 200 || r.Status == 204 || r.Body.Kind == Tunnel {
		declare = Body{}
	}
	return appendEnd(dst, declare, r.Minor, c)
}

// appendFields appends what goes past this hop.
func appendFields(dst []byte, f *Fields, minor uint8, c *Changes) []byte {
	for i := range f.lines {
		l := &f.lines[i]
		switch l.name {
		case Host, ContentLength, TransferEncoding: // written from what they meant
			continue
		case Expect:
			if minor == 0 { // ignored there, so not brought back to life here
				continue
			}
		case Upgrade:
			if !c.Upgrade {
				continue
			}
		default:
			if l.hop {
				continue
			}
		}
		name := f.raw[l.start:l.colon]
		if c.replaces(name) {
			continue
		}
		dst = append(append(dst, name...), ": "...)
		dst = append(append(dst, f.raw[l.value:l.valueEnd]...), "\r\n"...)
	}
	return dst
}

func (c *Changes) replaces(name []byte) bool {
	for i := range c.Set {
		if equalFoldBytes(name, c.Set[i].name) {
			return true
		}
	}
	for _, drop := range c.Drop {
		if equalFoldBytes(name, drop) {
			return true
		}
	}
	return false
}

// appendEnd appends the gate's own fields, the framing and the empty line.
func appendEnd(dst []byte, body Body, minor uint8, c *Changes) []byte {
	for _, f := range c.Set {
		dst = appendField(dst, f)
	}
	if c.Via.name != "" {
		dst = append(dst, "Via: 1."...)
		dst = append(append(dst, '0'+minor, ' '), c.Via.name...)
		dst = append(dst, "\r\n"...)
	}
	switch {
	case c.Upgrade:
		dst = append(dst, "Connection: Upgrade\r\n"...)
	case c.Close:
		dst = append(dst, "Connection: close\r\n"...)
	case c.KeepAlive:
		dst = append(dst, "Connection: keep-alive\r\n"...)
	}
	switch body.Kind {
	case Sized:
		dst = append(dst, "Content-Length: "...)
		dst = append(appendDecimal(dst, body.Length), "\r\n"...)
	case Chunked:
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	}
	return append(dst, "\r\n"...)
}

func appendField(dst []byte, f Field) []byte {
	dst = append(append(dst, f.name...), ": "...)
	return append(append(dst, f.value...), "\r\n"...)
}

func appendDecimal(dst []byte, n int64) []byte { return strconv.AppendInt(dst, n, 10) }

// AppendChunk appends one chunk. Of no data it appends nothing, for a chunk of
// size 0 would end the body.
func AppendChunk(dst, data []byte) []byte {
	if len(data) == 0 {
		return dst
	}
	dst = append(strconv.AppendInt(dst, int64(len(data)), 16), "\r\n"...)
	return append(append(dst, data...), "\r\n"...)
}

// AppendLastChunk appends the end of a chunked body, with trailers. Of those, what
// must come before the body is left out (RFC 9110, section 6.5.1).
func AppendLastChunk(dst []byte, trailers ...Field) []byte {
	dst = append(dst, "0\r\n"...)
	for _, f := range trailers {
		if !nameTable[nameOf([]byte(f.name))].early {
			dst = appendField(dst, f)
		}
	}
	return append(dst, "\r\n"...)
}
