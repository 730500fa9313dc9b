package flow

import (
	"net/netip"
	"strconv"
	"time"

	"gatehouse/policy"
)

// JSON writes a Record as one line of the decision log: always the same fields
// in the same order, so that a line can be read without asking what is missing.
// For a DNS question "type" is the type that was asked for. Only a line of a
// passage through a parent proxy names it, one of TLS that could not be looked
// into or of a parent that failed says why, and one that tells of repeats of how
// many.
func JSON(dst []byte, r *Record) []byte {
	o := object{buf: append(dst, '{')}
	o.key("ts")
	o.buf = appendTime(o.buf, r.Time)
	o.text("id", r.ID)
	o.text("surface", r.Surface.String())
	o.addr("client", r.Client)
	o.text("group", r.Group)
	o.text("user", r.User)
	o.text("host", r.Host)
	o.list("cname", r.CNAME)
	o.addr("ip", r.IP)
	o.number("port", int64(r.Port))
	o.text("protocol", r.Protocol.String())
	o.text("method", r.Method)
	o.text("path", r.Path)
	o.text("type", r.typeOf())
	o.text("upload", r.Upload)
	o.text("verdict", r.Verdict.String())
	o.flag("would", r.Verdict.Would)
	o.text("reason", r.Verdict.Reason.String())
	o.text("rule", r.Verdict.RuleName())
	o.number("rule_line", int64(r.Verdict.Line()))
	o.text("pack", r.pack())
	o.text("policy_sha", r.PolicySHA)
	o.number("sent", r.Sent)
	o.number("received", r.Received)
	o.millis("first_byte_ms", r.FirstByte)
	o.millis("dur_ms", r.Duration)
	o.text("end", r.ending())
	o.number("status", int64(r.Status))
	if r.Publish != "" {
		o.text("publish", r.Publish)
	}
	if r.Parent != "" {
		o.text("parent", r.Parent)
	}
	if r.Fault != "" {
		o.text("fault", string(r.Fault))
	}
	if r.Detail != "" {
		o.text("detail", r.Detail)
	}
	if r.Repeats > 0 {
		o.number("repeats", int64(r.Repeats))
	}
	return append(o.buf, '}', '\n')
}

// typeOf is what the "type" of the line says: for a DNS question the type asked
// for, else the media type that came back.
func (r *Record) typeOf() string {
	if r.Surface == policy.DNS {
		return r.Query
	}
	return r.Type
}

func (r *Record) pack() string {
	if r.Verdict.Rule == nil {
		return ""
	}
	return r.Verdict.Rule.Pack
}

// ending is End, or "open" in the line that a long passage gets at its start.
func (r *Record) ending() string {
	if r.Open {
		return "open"
	}
	return r.End
}

// object writes the members of a JSON object, without reflection: the log must
// cost little beside the passage it tells of.
type object struct {
	buf  []byte
	more bool
}

func (o *object) key(name string) {
	if o.more {
		o.buf = append(o.buf, ',', '"')
	} else {
		o.buf = append(o.buf, '"')
	}
	o.more = true
	o.buf = append(append(o.buf, name...), '"', ':')
}

func (o *object) addr(name string, a netip.Addr) {
	o.key(name)
	o.buf = appendAddr(o.buf, a)
}

func (o *object) millis(name string, d time.Duration) {
	o.key(name)
	o.buf = appendMillis(o.buf, d)
}

func (o *object) text(name, value string) {
	o.key(name)
	o.buf = appendJSONString(o.buf, value)
}

func (o *object) number(name string, n int64) {
	o.key(name)
	o.buf = strconv.AppendInt(o.buf, n, 10)
}

func (o *object) flag(name string, set bool) {
	o.key(name)
	o.buf = strconv.AppendBool(o.buf, set)
}

func (o *object) list(name string, values []string) {
	o.key(name)
	o.buf = append(o.buf, '[')
	for i, v := range values {
		if i > 0 {
			o.buf = append(o.buf, ',')
		}
		o.buf = appendJSONString(o.buf, v)
	}
	o.buf = append(o.buf, ']')
}

// appendTime writes a moment as RFC 3339 has it, in UTC, to the millisecond.
// Each line has one, and the general way, by a layout, costs four times as much.
func appendTime(dst []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	if year < 0 || year > 9999 {
		return t.AppendFormat(dst, `"2006-01-02T15:04:05.000Z"`)
	}
	hour, minute, second := t.Clock()
	dst = append(dst, '"')
	dst = appendDigits(dst, year, 1000)
	dst = appendDigits(append(dst, '-'), int(month), 10)
	dst = appendDigits(append(dst, '-'), day, 10)
	dst = appendDigits(append(dst, 'T'), hour, 10)
	dst = appendDigits(append(dst, ':'), minute, 10)
	dst = appendDigits(append(dst, ':'), second, 10)
	dst = appendDigits(append(dst, '.'), t.Nanosecond()/1e6, 100)
	return append(dst, 'Z', '"')
}

// appendDigits writes n with as many digits as its first place has.
func appendDigits(dst []byte, n, place int) []byte {
	for ; place > 0; place /= 10 {
		dst = append(dst, byte('0'+n/place%10))
	}
	return dst
}

// appendMillis writes a duration in milliseconds, to the microsecond, without
// zeros at its end.
func appendMillis(dst []byte, d time.Duration) []byte {
	micros := d.Microseconds()
	if micros < 0 {
		dst, micros = append(dst, '-'), -micros
	}
	dst = strconv.AppendInt(dst, micros/1000, 10)
	if micros %= 1000; micros == 0 {
		return dst
	}
	dst = appendDigits(append(dst, '.'), int(micros), 100)
	for dst[len(dst)-1] == '0' {
		dst = dst[:len(dst)-1]
	}
	return dst
}
