package dnsallow

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"gatehouse/policy"
)

// readFacts reads what nearly every reply that leads somewhere is: the question to
// the letter, the aliases from its name on, in order, the addresses of the last of
// them, and at most an OPT record without options. ok is false for all others, good
// or bad: miekg/dns and collect say what they are. What it does read it reads like
// these; a fuzz test holds them to that.
func readFacts(packet, query []byte, q question, now time.Time) (f *facts, ok bool) {
	asked := query[headerBytes:questionEnd(query)]
	if !plainReply(packet, query) || !bytes.HasPrefix(packet[headerBytes:], asked) {
		return nil, false
	}
	r := reader{packet: packet, at: headerBytes + len(asked), asked: q.name, owner: q.name, qtype: q.qtype, ttl: ttlCeiling}
	for range binary.BigEndian.Uint16(packet[6:]) {
		if !r.record() {
			return nil, false
		}
	}
	if r.found == 0 || !r.ends(binary.BigEndian.Uint16(packet[10:])) {
		return nil, false
	}
	return r.facts(now), true
}

// plainReply reports whether a header is that of a whole answer to our query, with
// one question and nothing in its authority section.
func plainReply(packet, query []byte) bool {
	const one = 1
	return len(packet) >= headerBytes && bytes.Equal(packet[:2], query[:2]) &&
		packet[2]&(flagResponse|opcodeBits|flagTruncated) == flagResponse && packet[3]&0xf == dns.RcodeSuccess &&
		binary.BigEndian.Uint16(packet[4:]) == one && binary.BigEndian.Uint16(packet[8:]) == 0
}

// reader is how far a reply has been read.
type reader struct {
	packet []byte
	at     int
	asked  string
	qtype  uint16
	owner  string // whose records come next
	ttl    time.Duration

	aliases   [maxLinks]policy.Host
	aliasTTLs [maxLinks]time.Duration
	links     int
	addresses [plainAddresses]address
	found     int
}

// plainAddresses is how many addresses nearly every name has at most.
const plainAddresses = 16

// recordBytes is the length of what stands between the owner of a record and its
// data: type, class, TTL and length (RFC 1035, section 4.1.3).
const recordBytes = 10

// record reads one record of the answer section.
func (r *reader) record() bool {
	at, ok := r.names(r.at, r.owner)
	if !ok || at+recordBytes > len(r.packet) || binary.BigEndian.Uint16(r.packet[at+2:]) != dns.ClassINET {
		return false
	}
	kind := binary.BigEndian.Uint16(r.packet[at:])
	ttl := clamp(seconds(binary.BigEndian.Uint32(r.packet[at+4:])))
	data := at + recordBytes
	r.at = data + int(binary.BigEndian.Uint16(r.packet[at+8:]))
	if r.at > len(r.packet) {
		return false
	}
	r.ttl = min(r.ttl, ttl)
	if kind == dns.TypeCNAME {
		return r.found == 0 && r.alias(data, ttl)
	}
	return kind == r.qtype && r.address(r.packet[data:r.at], ttl)
}

func (r *reader) address(octets []byte, ttl time.Duration) bool {
	if r.found == plainAddresses || len(octets) != 4 && r.qtype == dns.TypeA || len(octets) != 16 && r.qtype == dns.TypeAAAA {
		return false
	}
	addr, ok := netip.AddrFromSlice(octets)
	for _, known := range r.addresses[:r.found] {
		ok = ok && known.addr != addr
	}
	r.addresses[r.found] = address{addr, ttl}
	r.found++
	return ok
}

// alias reads where an alias leads: to a name that has not been there before.
func (r *reader) alias(at int, ttl time.Duration) bool {
	if r.links == maxLinks {
		return false
	}
	name, next, ok := r.spell(at)
	if !ok || next != r.at {
		return false
	}
	host, err := policy.ParseHost(name)
	if err != nil || host.IsIP() || host.Name() == r.asked {
		return false
	}
	for _, before := range r.aliases[:r.links] {
		if before == host {
			return false
		}
	}
	r.aliases[r.links], r.aliasTTLs[r.links] = host, ttl
	r.links++
	r.owner = host.Name()
	return true
}

// label is where the label at an offset lies, behind whatever pointers lead there,
// each of them back. next is where what follows the name begins, once a pointer has
// said so. Whoever walks from label to label has to bound the walk.
func (r *reader) label(at, next int) (begins, behind int, ok bool) {
	for at < len(r.packet) && r.packet[at] >= 0xc0 {
		if at+1 >= len(r.packet) {
			return 0, 0, false
		}
		if next == 0 {
			next = at + 2
		}
		to := int(binary.BigEndian.Uint16(r.packet[at:]) & 0x3fff)
		if to >= at || to < headerBytes {
			return 0, 0, false
		}
		at = to
	}
	const longest = 63
	if at >= len(r.packet) || r.packet[at] > longest || at+1+int(r.packet[at]) > len(r.packet) {
		return 0, 0, false
	}
	return at, next, true
}

// names reports whether the name at an offset is name, which is in lower case, and
// where it ends.
func (r *reader) names(at int, name string) (next int, ok bool) {
	for {
		if at, next, ok = r.label(at, next); !ok {
			return 0, false
		}
		length := int(r.packet[at])
		label, rest := cutLabel(name)
		if length != len(label) {
			return 0, false
		}
		if at++; length == 0 {
			return orElse(next, at), true
		}
		for i := range length {
			if lower(r.packet[at+i]) != label[i] {
				return 0, false
			}
		}
		at, name = at+length, rest
	}
}

// spell writes the name at an offset in lower case, with dots between its labels,
// and says where it ends. ok is false for one that could not be written without
// escapes.
func (r *reader) spell(at int) (name string, next int, ok bool) {
	var text [255]byte
	n := 0
	for {
		if at, next, ok = r.label(at, next); !ok {
			return "", 0, false
		}
		length := int(r.packet[at])
		if at++; length == 0 {
			return string(text[:n]), orElse(next, at), n > 0
		}
		if n > 0 {
			text[n] = '.'
			n++
		}
		if n+length >= len(text) {
			return "", 0, false
		}
		for i := range length {
			c := lower(r.packet[at+i])
			if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
				return "", 0, false
			}
			text[n] = c
			n++
		}
		at += length
	}
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// ends reports whether the packet ends here, behind the OPT record without options
// that it may have. Its TTL holds the upper bits of the response code, the version
// and flags, of which there is one (RFC 6891, section 6.1.3).
func (r *reader) ends(additional uint16) bool {
	rest := r.packet[r.at:]
	if additional == 0 {
		return len(rest) == 0
	}
	const doBit = 1 << 15
	return additional == 1 && len(rest) == optBytes && rest[0] == 0 && binary.BigEndian.Uint16(rest[1:]) == dns.TypeOPT &&
		binary.BigEndian.Uint32(rest[5:])&^doBit == 0 && binary.BigEndian.Uint16(rest[9:]) == 0
}

// facts are what has been read.
func (r *reader) facts(now time.Time) *facts {
	both := new(struct {
		facts
		one [1]address // most names have one
	})
	f := &both.facts
	f.stored, f.ttl = now, r.ttl
	f.addresses = append(both.one[:0], r.addresses[:r.found]...)
	if r.links > 0 {
		f.aliases = append([]policy.Host(nil), r.aliases[:r.links]...)
		f.aliasTTLs = append([]time.Duration(nil), r.aliasTTLs[:r.links]...)
	}
	return f
}
