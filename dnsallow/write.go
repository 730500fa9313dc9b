package dnsallow

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// writer writes a message record by record. Names that have been written are
// pointed to (RFC 1035, section 4.1.4).
type writer struct {
	wire  []byte
	times []countdown
	owner int        // where the name of the next record stands
	tails [64]uint16 // where names, and what follows each of their dots, stand
	n     int
}

var writers = sync.Pool{New: func() any { return new(writer) }}

// body writes the body of a reply to a plain question: where its name leads, or the
// SOA under a "no". It is written into the writer's own room, where it stays until the
// next.
func (w *writer) body(in *inquiry, o *outcome) draft {
	w.wire, w.times, w.n = w.wire[:0], w.times[:0], 0
	w.begin(in.packet[headerBytes:in.end])
	end := len(w.wire)
	for _, f := range o.led.chain.parts[:o.led.chain.n] {
		for i, alias := range f.aliases {
			w.alias(alias.Name(), f.stored.Add(f.aliasTTLs[i]))
		}
	}
	for i := range o.led.leads {
		l := &o.led.leads[i]
		w.address(l.permit.Addr(), l.until)
	}
	if o.negative {
		w.no(ttlSeconds(o.lifetime), o.holds)
	}
	return draft{wire: w.wire, end: end, times: w.times}
}

// begin writes the header and the question, whose name is put in lower case.
func (w *writer) begin(question []byte) {
	w.wire = append(w.wire, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)
	w.wire = append(w.wire, question...)
	w.owner = headerBytes
	for at := headerBytes; w.wire[at] != 0; at += 1 + int(w.wire[at]) {
		w.remember(at)
		label := w.wire[at+1 : at+1+int(w.wire[at])]
		for i, c := range label {
			if 'A' <= c && c <= 'Z' {
				label[i] = c + 'a' - 'A'
			}
		}
	}
}

func (w *writer) remember(at int) {
	const furthest = 1<<14 - 1 // that can be pointed to
	if w.n < len(w.tails) && at <= furthest {
		w.tails[w.n] = uint16(at)
		w.n++
	}
}

// The counts of a header that the writer adds to.
const (
	answerCount    = 6
	authorityCount = 8
)

// record begins a record that runs down at a moment, and gives back where the
// length of its data stands.
func (w *writer) record(count int, kind uint16, ttl uint32, until time.Time) (length int) {
	binary.BigEndian.PutUint16(w.wire[count:], binary.BigEndian.Uint16(w.wire[count:])+1)
	w.point(w.owner)
	w.wire = binary.BigEndian.AppendUint16(w.wire, kind)
	w.wire = binary.BigEndian.AppendUint16(w.wire, dns.ClassINET)
	w.countDown(until)
	w.wire = binary.BigEndian.AppendUint32(w.wire, ttl)
	w.wire = append(w.wire, 0, 0)
	return len(w.wire) - 2
}

// ended fills in the length of a record's data.
func (w *writer) ended(length int) {
	binary.BigEndian.PutUint16(w.wire[length:], uint16(len(w.wire)-length-2))
}

// countDown notes that a TTL comes next.
func (w *writer) countDown(until time.Time) {
	if !until.IsZero() {
		w.times = append(w.times, countdown{len(w.wire), until})
	}
}

// alias says that the owner is another name for target, which owns what follows.
func (w *writer) alias(target string, until time.Time) {
	length := w.record(answerCount, dns.TypeCNAME, 0, until)
	w.name(target)
	w.ended(length)
	w.owner = length + 2
}

func (w *writer) address(a netip.Addr, until time.Time) {
	if a.Is4() {
		length := w.record(answerCount, dns.TypeA, 0, until)
		four := a.As4()
		w.wire = append(w.wire, four[:]...)
		w.ended(length)
		return
	}
	length := w.record(answerCount, dns.TypeAAAA, 0, until)
	sixteen := a.As16()
	w.wire = append(w.wire, sixteen[:]...)
	w.ended(length)
}

// no writes the SOA, which belongs to the question's name.
func (w *writer) no(ttl uint32, until time.Time) {
	w.owner = headerBytes
	length := w.record(authorityCount, dns.TypeSOA, ttl, until)
	if w.find(soaZone) > 0 {
		w.name(soaServer)
		w.name(soaMailbox)
	} else { // nothing to point to but what stands here
		at := len(w.wire)
		w.wire = append(w.wire, soaNames...)
		w.point(at)
	}
	w.wire = append(w.wire, soaTimes...)
	w.countDown(until)
	w.wire = binary.BigEndian.AppendUint32(w.wire, ttl) // how long the "no" holds
	w.ended(length)
}

// The names of the SOA where nothing before them ends like them, but for the
// pointer at their end from the mailbox to the server; and the fields behind.
const (
	soaZone  = "invalid"
	soaNames = "\x09gatehouse\x07" + soaZone + "\x00\x06nobody"
)

var soaTimes = func() (b []byte) {
	for _, field := range [...]uint32{soaSerial, soaRefresh, soaRetry, soaExpire} {
		b = binary.BigEndian.AppendUint32(b, field)
	}
	return b
}()

func (w *writer) point(at int) { w.wire = binary.BigEndian.AppendUint16(w.wire, 0xc000|uint16(at)) }

// name writes a name in lower case, and points to the longest end of it that has
// been written before.
func (w *writer) name(name string) {
	for rest := name; rest != ""; {
		if at := w.find(rest); at > 0 {
			w.point(at)
			return
		}
		w.remember(len(w.wire))
		label, after := cutLabel(rest)
		w.wire = append(w.wire, byte(len(label)))
		w.wire = append(w.wire, label...)
		rest = after
	}
	w.wire = append(w.wire, 0)
}

func cutLabel(name string) (label, rest string) {
	for i := range len(name) {
		if name[i] == '.' {
			return name[:i], name[i+1:]
		}
	}
	return name, ""
}

// find is where a name has been written, 0 where it has not.
func (w *writer) find(name string) int {
	label, _ := cutLabel(name)
	for _, at := range w.tails[:w.n] {
		if int(w.wire[at]) == len(label) && w.reads(int(at), name) {
			return int(at)
		}
	}
	return 0
}

// reads reports whether the name that begins at an offset is name.
func (w *writer) reads(at int, name string) bool {
	for name != "" {
		for at < len(w.wire) && w.wire[at] >= 0xc0 { // our own pointers, which only point back
			at = int(binary.BigEndian.Uint16(w.wire[at:]) & 0x3fff)
		}
		label, rest := cutLabel(name)
		next := at + 1 + len(label)
		if next >= len(w.wire) || int(w.wire[at]) != len(label) || string(w.wire[at+1:next]) != label {
			return false
		}
		at, name = next, rest
	}
	for w.wire[at] >= 0xc0 {
		at = int(binary.BigEndian.Uint16(w.wire[at:]) & 0x3fff)
	}
	return w.wire[at] == 0
}
