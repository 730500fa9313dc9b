package dnsallow

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"gatehouse/internal/flow"
	"gatehouse/policy"
)

// inquiry is one question as it came off the wire, read but not judged.
type inquiry struct {
	id     string // decision id
	began  time.Time
	client netip.Addr
	tcp    bool // or TLS
	secure bool // over TLS

	packet []byte
	msg    dns.Msg // as far as it could be read
	broken bool    // it could not be read, or does not ask exactly one thing
	opt    *dns.OPT
	end    int // where the question ends in packet, as questionEnd says

	key   *askerKey       // of the packet; nil: nobody has made it
	quick ask             // where readPlain read the packet: what ask is to say
	room  [1]dns.Question // for msg
}

// begin says when the packet came and from whom.
func (in *inquiry) begin(client netip.Addr, now time.Time) {
	in.id, in.began, in.client = flow.NewID(), now, client
}

// answerable reports whether there is anything to answer: not a response (two
// servers could keep each other busy with those for ever), nor less than a
// header.
func answerable(packet []byte) bool { return len(packet) >= headerBytes && packet[2]&flagResponse == 0 }

// readPlain reads what nearly every packet is: a plain question for a host name.
// It is false for all others, good or bad: readInquiry says what they are. A fuzz
// test holds the two to the same.
func (in *inquiry) readPlain(packet []byte) bool {
	a, ok := readAsk(packet)
	if !ok {
		return false
	}
	name, ok := spell(packet[headerBytes : a.end-4])
	if !ok {
		return false
	}
	*in = inquiry{packet: packet, end: a.end, quick: a}
	in.room[0] = dns.Question{Name: name, Qtype: binary.BigEndian.Uint16(packet[a.end-4:]), Qclass: dns.ClassINET}
	in.msg.Question = in.room[:]
	return true
}

// spell writes a name that questionEnd has found whole in lower case, with its
// dots. ok is false for the root, and for a name that could not be written
// without escapes.
func spell(wire []byte) (name string, ok bool) {
	var text [255]byte
	n := 0
	for at := 0; wire[at] != 0; at += 1 + int(wire[at]) {
		for _, c := range wire[at+1 : at+1+int(wire[at])] {
			switch {
			case 'A' <= c && c <= 'Z':
				c += 'a' - 'A'
			case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
			default:
				return "", false
			}
			text[n] = c
			n++
		}
		text[n] = '.'
		n++
	}
	return string(text[:n]), n > 0
}

// readInquiry reads a packet. ok is false where it is not answerable.
func readInquiry(packet []byte) (in *inquiry, ok bool) {
	if !answerable(packet) {
		return nil, false
	}
	in = &inquiry{packet: packet}
	err := in.unpack()
	in.broken = err != nil || len(in.msg.Question) != 1
	in.msg.Opcode = int(packet[2]>>3) & 0xf // also where the rest cannot be read
	for _, rr := range in.msg.Extra {
		if opt, is := rr.(*dns.OPT); is {
			// RFC 6891, section 6.1.1: more than one, or one with a name, is
			// a format error.
			in.broken = in.broken || in.opt != nil || opt.Hdr.Name != "."
			in.opt = opt
		}
	}
	if !in.broken { // a name that is compressed has nothing before it to point to (RFC 1035, section 4.1.4)
		in.end = questionEnd(packet)
		in.broken = in.end == 0
	}
	return in, true
}

// unpack reads as much of the packet as its answer needs. Records cost far more
// to read than to send (a datagram has room for 5,900, each with a name that is
// followed through 126 pointers), so nothing is read of a packet that has more
// of them than an honest question: an OPT and a signature, and for IXFR the SOA
// the client has (RFC 1995, section 3). Of an operation that is no question,
// only what it is about is read.
func (in *inquiry) unpack() error {
	count := func(at int) uint16 { return binary.BigEndian.Uint16(in.packet[at:]) }
	questions, answers, authority, additional := count(4), count(6), count(8), count(10)
	plain := questions == 1 && answers == 0 && authority <= 1 && additional <= 2
	operation := in.packet[2]&opcodeBits != dns.OpcodeQuery
	if plain {
		err := errors.Join(in.msg.Unpack(in.packet), in.complete(int(authority), int(additional)))
		if err == nil || !operation {
			return err
		}
	}
	if operation && questions == 1 {
		head := bytes.Clone(in.packet[:min(len(in.packet), headerBytes+maxQuestion)])
		clear(head[6:headerBytes])
		return in.msg.Unpack(head)
	}
	head := bytes.Clone(in.packet[:headerBytes])
	clear(head[4:])
	return errors.Join(errCounts, in.msg.Unpack(head))
}

// complete holds what was read to what the header announces, which miekg/dns does
// not: it is content with less. An OPT record has one place (RFC 6891, section 6.1.1).
func (in *inquiry) complete(authority, additional int) error {
	misplaced := slices.ContainsFunc(in.msg.Ns, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeOPT })
	if misplaced || len(in.msg.Ns) != authority || len(in.msg.Extra) != additional {
		return errCounts
	}
	return nil
}

// maxQuestion is the length of the longest question: a name, type and class.
const maxQuestion = 255 + 4

var errCounts = errors.New("the packet is not made of a question and what may go with it")

// question is what is asked; only where the inquiry is not broken.
func (in *inquiry) question() dns.Question { return in.msg.Question[0] }

// plain reports whether the inquiry is a question in the ordinary sense, so that
// asking it again is the same question.
func (in *inquiry) plain() bool {
	return !in.broken && in.msg.Opcode == dns.OpcodeQuery && in.question().Qclass == dns.ClassINET &&
		(in.opt == nil || in.opt.Version() == 0)
}

// host is the name that is asked for. ok is false where it is no host name, so
// that no rule can permit it. An address literal is none either: nobody asks a
// DNS server for one in earnest.
func (in *inquiry) host() (h policy.Host, ok bool) {
	name := strings.TrimSuffix(in.question().Name, ".")
	h, err := policy.ParseHost(name)
	return h, err == nil && !h.IsIP() && strings.EqualFold(name, h.Name())
}

// name is what replies call the name that is asked for: it is in lower case, and
// gets the case of the packet when the reply is finished.
func (in *inquiry) name() string { return strings.ToLower(in.question().Name) }

// ask is what finishing a reply must know.
func (in *inquiry) ask() ask {
	if in.quick.end > 0 {
		a := in.quick
		if in.tcp {
			a.limit = dns.MaxMsgSize
		}
		return a
	}
	a := ask{end: in.end, edns: in.opt != nil, do: in.opt != nil && in.opt.Do(), padded: in.secure && in.padded()}
	switch {
	case in.tcp:
		a.limit = dns.MaxMsgSize
	case in.opt == nil:
		a.limit = dns.MinMsgSize
	default:
		a.limit = udpLimit(in.opt.UDPSize())
	}
	return a
}

// padded reports whether the question is: whoever looks at the line is not to tell
// it by its length, and then not by that of the reply (RFC 7830, section 4).
func (in *inquiry) padded() bool {
	return in.opt != nil && slices.ContainsFunc(in.opt.Option, func(o dns.EDNS0) bool { return o.Option() == dns.EDNS0PADDING })
}

// queryTypes are the types that the book knows by name; names from the wire
// never become labels.
var queryTypes = map[uint16]string{
	dns.TypeA: "A", dns.TypeAAAA: "AAAA", dns.TypeANY: "ANY", dns.TypeAXFR: "AXFR", dns.TypeCAA: "CAA",
	dns.TypeCNAME: "CNAME", dns.TypeDNSKEY: "DNSKEY", dns.TypeDS: "DS", dns.TypeHTTPS: "HTTPS", dns.TypeIXFR: "IXFR",
	dns.TypeMX: "MX", dns.TypeNAPTR: "NAPTR", dns.TypeNS: "NS", dns.TypeNULL: "NULL", dns.TypePTR: "PTR",
	dns.TypeSOA: "SOA", dns.TypeSRV: "SRV", dns.TypeSVCB: "SVCB", dns.TypeTXT: "TXT",
}

// queryType names a type for the book.
func queryType(t uint16) string {
	if name, ok := queryTypes[t]; ok {
		return name
	}
	return "other"
}
