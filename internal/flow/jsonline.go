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
func JSON(dst []byte, r *Record) []byte { return (*prepared)(nil).appendLine(dst, r) }

// NewJSON gives the Format JSON for one goroutine: it writes the same octets, and
// prepares once what stands alike in many lines.
func NewJSON() Format { return new(prepared).appendLine }

// appendLine writes without reflection: the log must cost little beside the
// passage it tells of. Each name stands with what parts it from the value before.
func (p *prepared) appendLine(dst []byte, r *Record) []byte {
	dst = append(dst, `{"ts":`...)
	dst = p.appendTime(dst, r.Time)
	dst = appendText(dst, `,"id":"`, r.ID)
	dst = appendWord(dst, `,"surface":"`, r.Surface.String())
	dst = appendAddr(dst, `,"client":"`, r.Client)
	dst = appendText(dst, `,"group":"`, r.Group)
	dst = appendText(dst, `,"user":"`, r.User)
	dst = appendText(dst, `,"host":"`, r.Host)
	dst = appendList(dst, `,"cname":[`, r.CNAME)
	dst = appendAddr(dst, `,"ip":"`, r.IP)
	dst = appendNumber(dst, `,"port":`, int64(r.Port))
	dst = appendWord(dst, `,"protocol":"`, r.Protocol.String())
	dst = appendText(dst, `,"method":"`, r.Method)
	dst = appendText(dst, `,"path":"`, r.Path)
	dst = appendText(dst, `,"type":"`, r.typeOf())
	dst = appendText(dst, `,"upload":"`, r.Upload)
	dst = p.appendVerdict(dst, r)
	dst = appendNumber(dst, `,"sent":`, r.Sent)
	dst = appendNumber(dst, `,"received":`, r.Received)
	dst = appendMillis(append(dst, `,"first_byte_ms":`...), r.FirstByte)
	dst = appendMillis(append(dst, `,"dur_ms":`...), r.Duration)
	dst = appendText(dst, `,"end":"`, r.ending())
	dst = appendNumber(dst, `,"status":`, int64(r.Status))
	if r.Publish != "" {
		dst = appendText(dst, `,"publish":"`, r.Publish)
	}
	if r.Parent != "" {
		dst = appendText(dst, `,"parent":"`, r.Parent)
	}
	if r.Fault != "" {
		dst = appendText(dst, `,"fault":"`, string(r.Fault))
	}
	if r.Detail != "" {
		dst = appendText(dst, `,"detail":"`, r.Detail)
	}
	if r.Repeats > 0 {
		dst = appendNumber(dst, `,"repeats":`, int64(r.Repeats))
	}
	return append(dst, '}', '\n')
}

// appendVerdict writes what was decided, by which rule of which file.
func appendVerdict(dst []byte, r *Record) []byte {
	dst = appendWord(dst, `,"verdict":"`, r.Verdict.String())
	dst = strconv.AppendBool(append(dst, `,"would":`...), r.Verdict.Would)
	dst = appendWord(dst, `,"reason":"`, r.Verdict.Reason.String())
	dst = appendText(dst, `,"rule":"`, r.Verdict.RuleName())
	dst = appendNumber(dst, `,"rule_line":`, int64(r.Verdict.Line()))
	dst = appendText(dst, `,"pack":"`, r.pack())
	return appendText(dst, `,"policy_sha":"`, r.PolicySHA)
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

// appendText writes a member of an object: name is what stands before the text, its
// first quote included.
func appendText(dst []byte, name, text string) []byte {
	dst = append(dst, name...)
	if len(text) <= MaxField && plainPrefix(text) == len(text) {
		return append(append(dst, text...), '"')
	}
	return append(appendEscaped(dst, clip(text)), '"')
}

// appendWord writes a member whose text is one of ours, with nothing to escape.
func appendWord(dst []byte, name, word string) []byte {
	return append(append(append(dst, name...), word...), '"')
}

func appendNumber(dst []byte, name string, n int64) []byte {
	return strconv.AppendInt(append(dst, name...), n, 10)
}

// appendAddr writes an address, or an empty text where there is none.
func appendAddr(dst []byte, name string, a netip.Addr) []byte {
	dst = append(dst, name...)
	if a.IsValid() {
		dst = a.AppendTo(dst)
	}
	return append(dst, '"')
}

func appendList(dst []byte, name string, texts []string) []byte {
	dst = append(dst, name...)
	for i, text := range texts {
		quote := `,"`
		if i == 0 {
			quote = `"`
		}
		dst = appendText(dst, quote, text)
	}
	return append(dst, ']')
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
	dst = append2(append2(dst, year/100), year%100)
	dst = append2(append(dst, '-'), int(month))
	dst = append2(append(dst, '-'), day)
	dst = append2(append(dst, 'T'), hour)
	dst = append2(append(dst, ':'), minute)
	dst = append2(append(dst, ':'), second)
	dst = append3(append(dst, '.'), t.Nanosecond()/1e6)
	return append(dst, 'Z', '"')
}

// append2 and append3 write n with so many digits.
func append2(dst []byte, n int) []byte { return append(dst, byte('0'+n/10), byte('0'+n%10)) }
func append3(dst []byte, n int) []byte {
	return append(dst, byte('0'+n/100), byte('0'+n/10%10), byte('0'+n%10))
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
	dst = append3(append(dst, '.'), int(micros))
	for dst[len(dst)-1] == '0' {
		dst = dst[:len(dst)-1]
	}
	return dst
}
