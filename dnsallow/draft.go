package dnsallow

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/miekg/dns"
)

// draft is a reply but for what differs from one packet to the next: id, case
// of the question, what is left of the TTLs, EDNS. It is immutable. Both paths
// finish their replies from a draft, so that they cannot differ in it.
type draft struct {
	wire   []byte // header, question, answer and authority
	end    int    // where the question ends in wire
	times  []countdown
	rcode  int
	reason string // told with the id as extended error ede; empty: nothing is told
	ede    uint16
}

// countdown is a TTL of a draft, and when it is over.
type countdown struct {
	at    int // offset in wire
	until time.Time
}

// newDraft writes a message down. until is when the TTLs of its authority records
// come to nothing; zero: they do not count down.
func newDraft(m *dns.Msg, until time.Time) (draft, error) {
	wire, err := m.Pack()
	if err != nil {
		return draft{}, err
	}
	d := draft{wire: wire, end: headerBytes, rcode: m.Rcode}
	if len(m.Question) > 0 {
		d.end = skipName(wire, d.end) + 4
	}
	at := d.end
	for range m.Answer {
		at = d.walk(at, time.Time{})
	}
	for range m.Ns {
		at = d.walk(at, until)
	}
	if at != len(wire) {
		return draft{}, errors.New("a reply has other records than it was given")
	}
	return d, nil
}

// walk passes over the record at an offset, and notes where its TTL stands. The
// minimum of an SOA, its last field, is a TTL as well.
func (d *draft) walk(at int, until time.Time) (next int) {
	fixed := skipName(d.wire, at)
	kind := binary.BigEndian.Uint16(d.wire[fixed:])
	next = fixed + 10 + int(binary.BigEndian.Uint16(d.wire[fixed+8:]))
	if until.IsZero() {
		return next
	}
	d.times = append(d.times, countdown{fixed + 4, until})
	if kind == dns.TypeSOA {
		d.times = append(d.times, countdown{next - 4, until})
	}
	return next
}

// skipName is where a name ends that we have packed ourselves.
func skipName(wire []byte, at int) int {
	for {
		switch c := wire[at]; {
		case c == 0:
			return at + 1
		case c >= 0xc0:
			return at + 2
		default:
			at += 1 + int(c)
		}
	}
}

// finish appends to dst the reply to a packet. Where it is too long for the
// client it says so and holds nothing else (RFC 2181, section 9).
func (d *draft) finish(dst, packet []byte, a ask, id string, now time.Time) []byte {
	room := a.limit
	if a.edns {
		room -= optBytes
		if d.reason != "" {
			room -= edeBytes + len(d.reason) + 1 + len(id)
		}
	}
	truncated := len(d.wire) > room
	start := len(dst)
	if truncated {
		dst = append(dst, d.wire[:d.end]...)
	} else {
		dst = append(dst, d.wire...)
	}
	reply := dst[start:]
	copy(reply, packet[:2])
	reply[2] = flagResponse | packet[2]&(opcodeBits|flagRecursion)
	reply[3] = flagAvailable | packet[3]&flagChecking | byte(d.rcode&0xf)
	if a.end > 0 {
		copy(reply[headerBytes:d.end], packet[headerBytes:a.end])
	}
	if truncated {
		reply[2] |= flagTruncated
		clear(reply[6:headerBytes])
	} else {
		for _, t := range d.times {
			left := max(0, t.until.Sub(now)) / time.Second
			binary.BigEndian.PutUint32(reply[t.at:], uint32(left))
		}
	}
	if a.edns {
		reply[headerBytes-1] = 1
		dst = d.appendOPT(dst, start, a, id)
	}
	return dst
}

// edeBytes is the length of an extended error without its text: code and length
// of the option, and the code of the error (RFC 8914, section 2).
const edeBytes = 4 + 2

// appendOPT is our half of EDNS, behind the message that begins at start: our
// payload size, the upper bits of the response code, the client's DO bit given back
// (RFC 3225), the reason with the decision's id, and padding.
func (d *draft) appendOPT(dst []byte, start int, a ask, id string) []byte {
	do := byte(0)
	if a.do {
		do = 1 << 7
	}
	dst = append(dst, 0, 0, byte(dns.TypeOPT), payload>>8, payload&0xff, byte(d.rcode>>4), 0, do, 0, 0, 0)
	options := len(dst)
	if d.reason != "" {
		dst = binary.BigEndian.AppendUint16(dst, dns.EDNS0EDE)
		dst = binary.BigEndian.AppendUint16(dst, uint16(2+len(d.reason)+1+len(id)))
		dst = binary.BigEndian.AppendUint16(dst, d.ede)
		dst = append(dst, d.reason...)
		dst = append(dst, ' ')
		dst = append(dst, id...)
	}
	if a.padded {
		dst = appendPadding(dst, start)
	}
	binary.BigEndian.PutUint16(dst[options-2:], uint16(len(dst)-options))
	return dst
}

// paddingBlock is what the length of a padded reply is a multiple of (RFC 8467,
// section 4.1).
const paddingBlock = 468

func appendPadding(dst []byte, start int) []byte {
	n := len(dst) - start + 4
	fill := (paddingBlock - n%paddingBlock) % paddingBlock
	dst = append(dst, 0, dns.EDNS0PADDING, byte(fill>>8), byte(fill))
	return append(dst, make([]byte, fill)...)
}
