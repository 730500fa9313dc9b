package nettest

import (
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// DNS is a scripted DNS server on loopback, UDP and TCP on one port. It plays
// the upstream resolver: from its zone it answers as an honest recursive server
// does, following aliases, with NXDOMAIN or NODATA and an SOA where there is
// nothing; and for the names given to Handle it does whatever the test says,
// lies included. It counts what it was asked.
type DNS struct {
	// Addr is "127.0.0.1:port".
	Addr string

	mu       sync.Mutex
	zone     map[string][]dns.RR // by lower-case owner
	handlers map[string]dns.HandlerFunc
	asked    []DNSQuestion
}

// DNSQuestion is one question the double was asked.
type DNSQuestion struct {
	Network string // "udp" or "tcp"
	Name    string // lower case, no trailing dot
	Written string // the name as it came, case and trailing dot included
	Type    string // "A", "AAAA", …
}

// NewDNS starts a double that knows the given records, written as in a zone
// file ("www.example.org. 300 IN A 192.0.2.7"). It is stopped with the test.
func NewDNS(t testing.TB, zone ...string) *DNS {
	t.Helper()
	d := &DNS{handlers: map[string]dns.HandlerFunc{}}
	d.Zone(t, zone...)
	packets, streams := ListenDNS(t)
	d.Addr = packets.LocalAddr().String()
	d.serve(t, &dns.Server{PacketConn: packets, Handler: d.on("udp")})
	d.serve(t, &dns.Server{Listener: streams, Handler: d.on("tcp")})
	return d
}

// ListenDNS opens UDP and TCP sockets on one free port of loopback. Whoever asks
// closes them.
func ListenDNS(t testing.TB) (*net.UDPConn, net.Listener) {
	t.Helper()
	var err error
	for range 20 {
		var packets *net.UDPConn
		var streams net.Listener
		if packets, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
			continue
		}
		if streams, err = net.Listen("tcp", packets.LocalAddr().String()); err == nil {
			return packets, streams
		}
		packets.Close()
	}
	t.Fatalf("no port is free for both UDP and TCP: %v", err)
	return nil, nil
}

func (d *DNS) serve(t testing.TB, s *dns.Server) {
	started, done := make(chan struct{}), make(chan struct{})
	s.NotifyStartedFunc = func() { close(started) }
	go func() {
		defer close(done)
		s.ActivateAndServe() // ends with Shutdown
	}()
	<-started
	t.Cleanup(func() {
		s.Shutdown()
		<-done
	})
}

// Zone replaces all records.
func (d *DNS) Zone(t testing.TB, zone ...string) {
	t.Helper()
	records := map[string][]dns.RR{}
	for _, text := range zone {
		rr, err := dns.NewRR(text)
		if err != nil || rr == nil {
			t.Fatalf("zone text %q: %v", text, err)
		}
		owner := strings.ToLower(rr.Header().Name)
		records[owner] = append(records[owner], rr)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.zone = records
}

// Handle has questions for one name answered by h; nil makes the double honest
// again. h may answer several times, wrongly or not at all; Honest gives it
// what the zone says.
func (d *DNS) Handle(name string, h dns.HandlerFunc) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.handlers[fold(name)] = h
}

// Silence is a handler that never answers.
func Silence(dns.ResponseWriter, *dns.Msg) {}

// Rcode is a handler that answers with nothing but a response code.
func Rcode(code int) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		w.WriteMsg(new(dns.Msg).SetRcode(q, code))
	}
}

// Slow is a handler that waits until release is closed (or Patience is over)
// before h answers.
func Slow(release <-chan struct{}, h dns.HandlerFunc) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		select {
		case <-release:
		case <-time.After(Patience):
		}
		h(w, q)
	}
}

// HonestHandler answers from the zone.
func (d *DNS) HonestHandler(w dns.ResponseWriter, q *dns.Msg) { w.WriteMsg(d.Honest(q)) }

// Asked counts the questions for a name ("" for any) and type ("" for any).
func (d *DNS) Asked(name, qtype string) int {
	n := 0
	for _, q := range d.Questions() {
		if (name == "" || q.Name == strings.ToLower(strings.TrimSuffix(name, "."))) && (qtype == "" || q.Type == qtype) {
			n++
		}
	}
	return n
}

// Questions are all the questions so far, in order.
func (d *DNS) Questions() []DNSQuestion {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]DNSQuestion(nil), d.asked...)
}

func (d *DNS) on(network string) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		written := q.Question[0].Name
		d.mu.Lock()
		d.asked = append(d.asked, DNSQuestion{
			Network: network, Written: written,
			Name: strings.TrimSuffix(fold(written), "."), Type: dns.TypeToString[q.Question[0].Qtype],
		})
		h := d.handlers[fold(written)]
		d.mu.Unlock()
		if h == nil {
			h = d.HonestHandler
		}
		h(w, q)
	}
}

// Honest is the reply the zone gives to q.
func (d *DNS) Honest(q *dns.Msg) *dns.Msg {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := new(dns.Msg).SetReply(q)
	m.RecursionAvailable = true
	name, qtype := fold(q.Question[0].Name), q.Question[0].Qtype
	for range 32 {
		found, alias := d.pick(name, qtype)
		m.Answer = append(m.Answer, found...)
		switch {
		case alias != "":
			name = alias
			continue
		case len(found) > 0:
			return m
		case len(d.zone[name]) == 0:
			m.Rcode = dns.RcodeNameError
		}
		break
	}
	m.Ns = []dns.RR{&dns.SOA{
		Hdr: dns.RR_Header{Name: "test.", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 900},
		Ns:  "ns.test.", Mbox: "hostmaster.test.", Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, Minttl: 30,
	}}
	return m
}

// pick finds the records of one owner: those of the type, or the alias.
func (d *DNS) pick(name string, qtype uint16) (found []dns.RR, alias string) {
	for _, rr := range d.zone[name] {
		if c, ok := rr.(*dns.CNAME); ok && qtype != dns.TypeCNAME {
			return []dns.RR{c}, fold(c.Target)
		}
		if rr.Header().Rrtype == qtype {
			found = append(found, rr)
		}
	}
	return found, ""
}

func fold(name string) string { return strings.ToLower(dns.Fqdn(name)) }
