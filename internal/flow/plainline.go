package flow

import (
	"bytes"
	"net/netip"
	"strconv"
)

// plainLine are the values of a line as JSON writes it where nothing in it had to
// be escaped, which is nearly always: texts without their quotes, numbers and lists
// as they stand. They lie in the line.
type plainLine [len(lineKeys)][]byte

// The places of lineKeys that are asked for by themselves.
const (
	atTime = iota
	atID
	atSurface
	atClient
	atGroup
	atUser
	atHost
	atCNAME
	atIP
	atPort
	atProtocol
	atMethod
	atPath
	atType
	atUpload
	atVerdict
	atWould
	atReason
	atRule
	atRuleLine
	atPack
	atPolicySHA
	atSent
	atReceived
	atFirstByte
	atDuration
	atEnd
	atStatus
	atPublish // the first of those that a line may lack
	atParent
	atFault
	atDetail
	atRepeats
)

// lineKeys are the keys in the order of JSON, each with what stands before its value
// and what that is.
var lineKeys = [...]struct {
	key string
	of  sort
}{
	{`{"ts":`, aText}, {`,"id":`, aText}, {`,"surface":`, aText}, {`,"client":`, aText}, {`,"group":`, aText}, {`,"user":`, aText}, {`,"host":`, aText},
	{`,"cname":`, aList}, {`,"ip":`, aText}, {`,"port":`, aNumber}, {`,"protocol":`, aText}, {`,"method":`, aText}, {`,"path":`, aText},
	{`,"type":`, aText}, {`,"upload":`, aText}, {`,"verdict":`, aText}, {`,"would":`, aFlag}, {`,"reason":`, aText}, {`,"rule":`, aText},
	{`,"rule_line":`, aNumber}, {`,"pack":`, aText}, {`,"policy_sha":`, aText}, {`,"sent":`, aNumber}, {`,"received":`, aNumber},
	{`,"first_byte_ms":`, aNumber}, {`,"dur_ms":`, aNumber}, {`,"end":`, aText}, {`,"status":`, aNumber},
	{`,"publish":`, aText}, {`,"parent":`, aText}, {`,"fault":`, aText}, {`,"detail":`, aText}, {`,"repeats":`, aNumber},
}

// sort is what a value is.
type sort int

const (
	aText sort = iota
	aList      // of texts
	aNumber
	aFlag
)

// split takes a line apart. It reports false for every line that is not exactly of
// the form that JSON writes, without escapes: such a line has to be read as JSON.
func (p *plainLine) split(line []byte) bool {
	rest := bytes.TrimSuffix(line, []byte{'\n'})
	for i, k := range lineKeys {
		p[i] = nil
		if len(rest) < len(k.key) || string(rest[:len(k.key)]) != k.key {
			if i < atPublish {
				return false
			}
			continue
		}
		rest = rest[len(k.key):]
		end := k.of.end(rest)
		if end == 0 {
			return false
		}
		if p[i] = rest[:end]; k.of == aText {
			p[i] = rest[1 : end-1]
		}
		rest = rest[end:]
	}
	return string(rest) == "}"
}

// end is where the value of that sort ends that s begins with; 0: it begins with none.
func (v sort) end(s []byte) int {
	switch v {
	case aText:
		return textEnd(s)
	case aList:
		return listEnd(s)
	case aNumber:
		return numberEnd(s)
	}
	for _, flag := range []string{"true", "false"} {
		if bytes.HasPrefix(s, []byte(flag)) {
			return len(flag)
		}
	}
	return 0
}

// listEnd is where the list of texts ends that s begins with; 0: there is none.
func listEnd(s []byte) int {
	if bytes.HasPrefix(s, []byte("[]")) {
		return 2
	}
	if len(s) == 0 || s[0] != '[' {
		return 0
	}
	for at := 1; ; at++ {
		n := textEnd(s[at:])
		if at += n; n == 0 || at == len(s) {
			return 0
		}
		switch s[at] {
		case ']':
			return at + 1
		case ',':
		default:
			return 0
		}
	}
}

// numberEnd is where the number ends that s begins with, one that JSON knows and that
// is not below 0 (RFC 8259, section 6), without an exponent; 0: there is none.
func numberEnd(s []byte) int {
	n := digitsEnd(s)
	if n == 0 || n > 1 && s[0] == '0' {
		return 0
	}
	if n == len(s) || s[n] != '.' {
		return n
	}
	if d := digitsEnd(s[n+1:]); d > 0 {
		return n + 1 + d
	}
	return 0
}

func digitsEnd(s []byte) (n int) {
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}

// textEnd is where the text ends that s begins with; 0: there is none, or something in
// it is escaped, or is no ASCII.
func textEnd(s []byte) int {
	if len(s) == 0 || s[0] != '"' {
		return 0
	}
	n := 1
	for n < len(s) && plain[s[n]] {
		n++
	}
	if n == len(s) || s[n] != '"' {
		return 0
	}
	return n + 1
}

// read makes of a line what json.Unmarshal would. It reports false where a value is
// not what JSON would have written.
func (p *plainLine) read(l *jsonLine) bool {
	v := values{line: p}
	*l = jsonLine{
		ID: v.text(atID), Surface: v.text(atSurface), Client: v.addr(atClient), Group: v.text(atGroup), User: v.text(atUser), Host: v.text(atHost),
		CNAME: v.texts(atCNAME), IP: v.addr(atIP), Port: uint16(v.number(atPort, 17)), Protocol: v.text(atProtocol), Method: v.text(atMethod),
		Path: v.text(atPath), Type: v.text(atType), Upload: v.text(atUpload), Verdict: v.text(atVerdict), Reason: v.text(atReason), Rule: v.text(atRule),
		RuleLine: int(v.number(atRuleLine, 64)), Pack: v.text(atPack), PolicySHA: v.text(atPolicySHA), Sent: v.number(atSent, 64),
		Received: v.number(atReceived, 64), FirstByte: v.decimal(atFirstByte), Duration: v.decimal(atDuration), End: v.text(atEnd),
		Status: int(v.number(atStatus, 64)), Publish: v.text(atPublish), Parent: v.text(atParent), Fault: Fault(v.text(atFault)),
		Detail: v.text(atDetail), Repeats: int(v.number(atRepeats, 64)),
	}
	v.failed(l.Time.UnmarshalText(p[atTime]))
	return !v.bad
}

// values reads those of a line, and keeps in mind that one could not be read.
type values struct {
	line *plainLine
	bad  bool
}

func (v *values) failed(err error) { v.bad = v.bad || err != nil }

func (v *values) text(at int) string { return string(v.line[at]) }

func (v *values) texts(at int) (all []string) {
	for list := v.line[at][1:]; len(list) > 1; {
		n := textEnd(list)
		all, list = append(all, string(list[1:n-1])), list[n+1:]
	}
	return all
}

func (v *values) addr(at int) (a netip.Addr) {
	v.failed(a.UnmarshalText(v.line[at]))
	return a
}

func (v *values) number(at, bits int) int64 {
	if v.line[at] == nil {
		return 0
	}
	n, err := strconv.ParseInt(string(v.line[at]), 10, bits)
	v.failed(err)
	return n
}

func (v *values) decimal(at int) float64 {
	f, err := strconv.ParseFloat(string(v.line[at]), 64)
	v.failed(err)
	return f
}
