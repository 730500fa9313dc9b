package flow

import (
	"bytes"
	"strconv"
	"time"
	"unicode/utf8"

	"gatehouse/policy"
)

// SyslogHeader is what each message of syslog says of its sender.
type SyslogHeader struct {
	Facility int // 0 to 23 (RFC 5424, table 1)
	Hostname string
	Version  string // of gatehouse
	PID      int
	// Most is the longest message in octets; what would be longer has its fields
	// cut. At least 2048, which every receiver should take (section 6.1).
	Most int
}

// The lengths of header fields in RFC 5424, section 6.
const (
	mostHostname = 255
	mostParam    = 32 // of software versions; the section has no bound
)

// Syslog gives the Format of syslog messages by RFC 5424, each ended by the line
// end that the decision log has, which is none of its own: whoever sends it puts
// a frame there instead. It is for one goroutine, for it counts the messages.
//
// The body is the JSON line in plain ASCII, so there is no byte order mark and no
// character that could end a frame (section 6.4). The structured data has the
// elements origin and meta, which IANA has registered: gatehouse has no enterprise
// number of its own, and without one an SD-ID cannot be invented (section 7).
func Syslog(h SyslogHeader) Format {
	origin := `[origin software="gatehouse"`
	if h.Version != "" {
		origin += ` swVersion="` + string(appendParam(nil, clipTo(h.Version, mostParam))) + `"`
	}
	origin += `] `
	sender := " " + string(appendPrintable(nil, h.Hostname, mostHostname)) + " gatehouse " + strconv.Itoa(max(h.PID, 0)) + " "
	most := max(h.Most, 2048)
	sequence := 0
	body := NewJSON()
	return func(dst []byte, r *Record) []byte {
		if sequence++; sequence > 2147483647 { // section 7.3.1
			sequence = 1
		}
		begin := len(dst)
		dst = append(dst, '<')
		dst = strconv.AppendInt(dst, int64(h.Facility*8+severity(r)), 10)
		dst = append(dst, ">1 "...)
		dst = appendSyslogTime(dst, r.Time.Add(r.Duration))
		dst = append(dst, sender...)
		dst = append(dst, r.Verdict.String()...) // MSGID: the kinds of messages there are
		dst = append(dst, ` [meta sequenceId="`...)
		dst = strconv.AppendInt(dst, int64(sequence), 10)
		dst = append(append(dst, `"]`...), origin...)
		return append(appendBody(dst, body, r, most-(len(dst)-begin)), '\n')
	}
}

// severity is how much a message matters (RFC 5424, table 2): a refusal is a
// warning, what monitor mode let pass a notice, all else information.
func severity(r *Record) int {
	switch {
	case r.Verdict.Would:
		return 5
	case r.Verdict.Allowed():
		return 6
	}
	return 4
}

// appendSyslogTime writes a moment as section 6.2.3 has it, in UTC; one that no
// year of four digits has is unknown.
func appendSyslogTime(dst []byte, t time.Time) []byte {
	if y := t.UTC().Year(); y < 0 || y > 9999 {
		return append(dst, '-')
	}
	begin := len(dst)
	dst = appendTime(dst, t)
	copy(dst[begin:], dst[begin+1:len(dst)-1]) // without the quotes of JSON
	return dst[:len(dst)-2]
}

// appendBody writes the line of JSON that body gives, without its end, in at most so
// many octets. Where it is longer, its fields are cut until it fits: half a JSON object is of
// no use.
func appendBody(dst []byte, body Format, r *Record, most int) []byte {
	begin := len(dst)
	dst = body(dst, r)
	dst = ascii(dst[:len(dst)-1], begin)
	for field := MaxField / 2; len(dst)-begin > most && field > 0; field /= 2 {
		dst = JSON(dst[:begin], r.shortened(field))
		dst = ascii(append(dst[:len(dst)-2], `,"cut":true}`...), begin)
	}
	return dst
}

// mostAliases are how many aliases a shortened Record keeps.
const mostAliases = 4

// shortened is a copy whose texts have so many octets at most.
func (r *Record) shortened(most int) *Record {
	s := *r
	s.CNAME = nil
	for _, alias := range r.CNAME[:min(len(r.CNAME), mostAliases)] {
		s.CNAME = append(s.CNAME, clipTo(alias, most))
	}
	for _, text := range []*string{&s.ID, &s.Group, &s.User, &s.Publish, &s.Host, &s.Parent, &s.Method, &s.Path,
		&s.Type, &s.Upload, &s.Query, &s.PolicySHA, &s.End, (*string)(&s.Fault), &s.Detail} {
		*text = clipTo(*text, most)
	}
	if rule := r.Verdict.Rule; rule != nil {
		s.Verdict.Rule = &policy.Rule{Name: clipTo(rule.Name, most), Pack: clipTo(rule.Pack, most), Line: rule.Line}
	}
	return &s
}

// ascii writes every other character of a line of JSON, which only its strings
// have, as an escape (RFC 8259, section 7). The line begins at an octet of buf.
func ascii(buf []byte, begin int) []byte {
	n := begin
	for n < len(buf) && buf[n] < utf8.RuneSelf {
		n++
	}
	rest := bytes.Clone(buf[n:])
	buf = buf[:n]
	for len(rest) > 0 {
		c, size := utf8.DecodeRune(rest)
		rest = rest[size:]
		if c < utf8.RuneSelf {
			buf = append(buf, byte(c))
		} else {
			buf = appendJSONEscape(buf, c)
		}
	}
	return buf
}

// appendParam writes a PARAM-VALUE (section 6.3.3), of printable ASCII only.
func appendParam(dst []byte, s string) []byte {
	for _, c := range []byte(s) {
		switch {
		case c == '"' || c == '\\' || c == ']':
			dst = append(dst, '\\', c)
		case c < ' ' || c > '~':
			dst = append(dst, '?')
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// appendPrintable writes a field of the header: PRINTUSASCII, at most so many
// octets, and a dash where there is none (section 6).
func appendPrintable(dst []byte, s string, most int) []byte {
	n := 0
	for _, c := range []byte(s) {
		if c > ' ' && c <= '~' && n < most {
			dst = append(dst, c)
			n++
		}
	}
	if n == 0 {
		return append(dst, '-')
	}
	return dst
}
