package dnsallow

import (
	"encoding/binary"
	"net/netip"

	"github.com/miekg/dns"
)

// ask is what a reply must know of the packet it answers, besides its first
// bytes.
type ask struct {
	end    int  // where the question ends in the packet; 0: it cannot be repeated
	edns   bool // there was an OPT record
	do     bool // with the DO bit
	padded bool // the reply is to be, too
	limit  int  // how long the reply may be
}

// The bits of the third and fourth octet of a header (RFC 1035, section 4.1.1;
// RFC 4035, section 3).
const (
	flagResponse  = 1 << 7
	flagTruncated = 1 << 1
	flagRecursion = 1 << 0 // desired
	opcodeBits    = 0xf << 3

	flagAvailable = 1 << 7 // recursion is
	flagAuthentic = 1 << 5
	flagChecking  = 1 << 4 // disabled
)

const (
	headerBytes = 12
	// optBytes is the length of an OPT record without options, with the root as
	// its owner.
	optBytes = 11
	// cookieBytes is the length of the one option that the hot path knows: what
	// dig and others send as a client cookie (RFC 7873, section 4).
	cookieBytes = 4 + 8
)

// readAsk reads a packet that the hot path can answer: one plain question of
// class IN over UDP, with or without an EDNS record that asks for nothing that
// matters. ok is false for all others, good or bad; they are not judged here.
func readAsk(packet []byte) (a ask, ok bool) {
	if len(packet) < headerBytes || packet[2]&^flagRecursion != 0 || packet[3]&^(flagAuthentic|flagChecking) != 0 {
		return ask{}, false
	}
	counts := binary.BigEndian.Uint64(packet[4:])
	const question, andOne = 1 << 48, 1<<48 | 1
	a.end = questionEnd(packet)
	if a.end == 0 || counts != question && counts != andOne ||
		binary.BigEndian.Uint16(packet[a.end-2:]) != dns.ClassINET {
		return ask{}, false
	}
	a.limit = dns.MinMsgSize
	if counts == question {
		return a, len(packet) == a.end
	}
	return a, a.readOPT(packet[a.end:])
}

// readOPT reads all that follows the question (RFC 6891, section 6.1.2).
func (a *ask) readOPT(rr []byte) bool {
	if len(rr) < optBytes || rr[0] != 0 || binary.BigEndian.Uint16(rr[1:]) != dns.TypeOPT {
		return false
	}
	const doBit = 1 << 15
	flags := binary.BigEndian.Uint32(rr[5:])
	if flags&^doBit != 0 { // another version, or flags that nobody has defined
		return false
	}
	options := rr[optBytes:]
	cookie := len(options) == cookieBytes && binary.BigEndian.Uint32(options) == dns.EDNS0COOKIE<<16|8
	if int(binary.BigEndian.Uint16(rr[9:])) != len(options) || len(options) > 0 && !cookie {
		return false
	}
	a.edns, a.do = true, flags&doBit != 0
	a.limit = udpLimit(binary.BigEndian.Uint16(rr[3:]))
	return true
}

// udpLimit is how long a reply may be to a client that can take size octets
// (RFC 6891, section 6.2.3; more than payload is not sent over UDP whatever it
// says).
func udpLimit(size uint16) int { return min(max(int(size), dns.MinMsgSize), payload) }

// questionEnd is where the first question of a packet ends, 0 where its name is
// broken or compressed, so that its bytes do not stand for themselves.
func questionEnd(packet []byte) int {
	const longestName, longestLabel = 255, 63
	for at := headerBytes; at < len(packet) && at < headerBytes+longestName; {
		label := int(packet[at])
		at++
		switch {
		case label > longestLabel:
			return 0
		case label == 0 && at+4 <= len(packet):
			return at + 4
		case label == 0:
			return 0
		}
		at += label
	}
	return 0
}

// askerKey is who asks what: the client's address, the type, and the name in
// lower case as it goes over the wire.
type askerKey struct {
	buf  [16 + 2 + 255]byte
	n    int
	hash uint64 // as the shelf has it
}

// set makes the key of a packet whose question ends at end. Length octets never
// look like letters, so the name is folded as a whole; the type is not, for 65
// would become 97.
func (k *askerKey) set(client netip.Addr, packet []byte, end int) {
	addr := client.As16()
	k.n = copy(k.buf[:], addr[:])
	k.n += copy(k.buf[k.n:], packet[end-4:end-2])
	for _, c := range packet[headerBytes : end-4] {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		k.buf[k.n] = c
		k.n++
	}
}

func (k *askerKey) bytes() []byte { return k.buf[:k.n] }
