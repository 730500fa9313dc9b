package flow

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"gatehouse/policy"
)

// longestLine bounds a line that is read back. The fields in it are capped, so
// a longer one is none of ours; it is passed over, not held in memory.
const longestLine = 64 << 10

// Read hands every Record of a decision log in JSON to take, in the order of the
// log, and counts the lines that are no decisions (torn by a full disk, another
// program's). The Record is the caller's. Of a rule it knows the name, the line
// and the pack only. err is the reader's.
func Read(r io.Reader, take func(*Record)) (unread int, err error) {
	lines := bufio.NewReaderSize(r, longestLine)
	for {
		line, err := lines.ReadSlice('\n')
		whole := !errors.Is(err, bufio.ErrBufferFull)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = lines.ReadSlice('\n')
		}
		if record, bad := ParseLine(line); whole && bad == nil {
			take(record)
		} else if len(line) > 1 {
			unread++
		}
		switch {
		case errors.Is(err, io.EOF):
			return unread, nil
		case err != nil:
			return unread, err
		}
	}
}

// jsonLine is a line of the decision log as JSON writes it.
type jsonLine struct {
	Time      time.Time  `json:"ts"`
	ID        string     `json:"id"`
	Surface   string     `json:"surface"`
	Client    netip.Addr `json:"client"`
	Group     string     `json:"group"`
	User      string     `json:"user"`
	Host      string     `json:"host"`
	CNAME     []string   `json:"cname"`
	IP        netip.Addr `json:"ip"`
	Parent    string     `json:"parent"`
	Publish   string     `json:"publish"`
	Port      uint16     `json:"port"`
	Protocol  string     `json:"protocol"`
	Method    string     `json:"method"`
	Path      string     `json:"path"`
	Type      string     `json:"type"`
	Upload    string     `json:"upload"`
	Verdict   string     `json:"verdict"`
	Reason    string     `json:"reason"`
	Rule      string     `json:"rule"`
	RuleLine  int        `json:"rule_line"`
	Pack      string     `json:"pack"`
	PolicySHA string     `json:"policy_sha"`
	Sent      int64      `json:"sent"`
	Received  int64      `json:"received"`
	FirstByte float64    `json:"first_byte_ms"`
	Duration  float64    `json:"dur_ms"`
	End       string     `json:"end"`
	Status    int        `json:"status"`
	Fault     Fault      `json:"fault"`
	Detail    string     `json:"detail"`
	Repeats   int        `json:"repeats"`
}

// ParseLine reads one line that JSON wrote; the line end may lack.
func ParseLine(line []byte) (*Record, error) {
	var l jsonLine
	if p := (plainLine{}); !p.split(line) || !p.read(&l) {
		l = jsonLine{}
		if err := json.Unmarshal(line, &l); err != nil {
			return nil, fmt.Errorf("no line of a decision log: %w", err)
		}
	}
	r := &Record{
		ID: l.ID, Time: l.Time, Client: l.Client, Group: l.Group, User: l.User,
		Host: l.Host, CNAME: l.CNAME, IP: l.IP, Port: l.Port, Method: l.Method, Path: l.Path, Upload: l.Upload, Status: l.Status,
		PolicySHA: l.PolicySHA, Sent: l.Sent, Received: l.Received, FirstByte: millis(l.FirstByte), Duration: millis(l.Duration),
		End: l.End, Fault: l.Fault, Detail: l.Detail, Parent: l.Parent, Publish: l.Publish, Repeats: l.Repeats,
	}
	if r.Open = l.End == "open"; r.Open {
		r.End = ""
	}
	if len(r.CNAME) == 0 {
		r.CNAME = nil
	}
	surface, known := named(policy.Surfaces(), l.Surface)
	if !known || l.Time.IsZero() {
		return nil, errors.New("no line of a decision log: it lacks its time or its surface")
	}
	if r.Surface = surface; surface == policy.DNS {
		r.Query = l.Type
	} else {
		r.Type = l.Type
	}
	if r.Protocol, known = named([]policy.Protocol{0, policy.PlainHTTP, policy.TLS, policy.TCP, policy.UDP}, l.Protocol); !known {
		return nil, fmt.Errorf("no line of a decision log: %q is no protocol", l.Protocol)
	}
	return r, l.verdict(&r.Verdict)
}

// verdict reads how the gate decided.
func (l *jsonLine) verdict(v *policy.Verdict) error {
	switch l.Verdict {
	case "allowed":
		v.Effect = policy.Allow
	case "would_deny":
		v.Effect, v.Would = policy.Allow, true
	case "denied":
	default:
		return fmt.Errorf("no line of a decision log: %q is no verdict", l.Verdict)
	}
	var known bool
	if v.Reason, known = named(policy.Reasons(), l.Reason); !known {
		return fmt.Errorf("no line of a decision log: %q is no reason", l.Reason)
	}
	if l.Rule != "" {
		v.Rule = &policy.Rule{Name: l.Rule, Line: l.RuleLine, Pack: l.Pack}
	}
	return nil
}

// named is the one of some that is spelt so.
func named[T fmt.Stringer](some []T, spelling string) (one T, ok bool) {
	for _, t := range some {
		if t.String() == spelling {
			return t, true
		}
	}
	return one, false
}

func millis(ms float64) time.Duration {
	return time.Duration(ms*1000+0.5) * time.Microsecond
}
