// Package flow is the book: one Record for each passage, from its first byte to
// its last. Metrics, decision log and console all read this one Record; none of
// them asks the gate anything else.
//
// What never gets into a Record: query strings, userinfo, header values and
// bodies.
package flow

import (
	"net/netip"
	"time"

	"gatehouse/policy"
)

// Record is one passage: an HTTP exchange, a tunnel, a redirected connection, a
// published request or a DNS question. It is filled in by the room that carries
// the passage and handed to the sinks when the passage ends; afterwards nobody
// changes it.
type Record struct {
	ID      string    // decision id, "GH-" and 8 characters
	Time    time.Time // when the first byte came
	Surface policy.Surface
	Client  netip.Addr
	Group   string // the client's first group in the rules file
	User    string // who logged in, where clients log in

	// Publish is the door that a published request came to, by the publication's
	// name; Host and Port are those of the server behind it.
	Publish  string
	Host     string
	CNAME    []string   // the aliases that were followed, in order
	IP       netip.Addr // the address that was dialled or answered first
	Parent   string     // the parent proxy that was asked; empty: none
	Port     uint16
	Protocol policy.Protocol
	Method   string
	Path     string // without query
	HadQuery bool   // there was one; what it said is nowhere
	Type     string // media type that came back
	Upload   string // media type that was sent
	Query    string // DNS type, from a fixed list ("A", "AAAA", …, "other")
	Status   int    // HTTP status handed to the client; 0 where there was none
	Page     string // media type of the gate's own page that stood in for an answer; empty: none did

	// Verdict is the last verdict of the passage. Its Reason is upstream-…
	// where the gate said yes and the world failed.
	Verdict   policy.Verdict
	PolicySHA string // sha256 of the rules file in force, hex

	Sent      int64 // octets of body or tunnel towards the destination
	Received  int64 // octets of body or tunnel towards the client
	Heads     int64 // octets towards the client besides: the head, and a page of the gate's own
	FirstByte time.Duration
	Duration  time.Duration
	// End says how it ended, from a fixed list: "done", "refused",
	// "client-closed", "origin-closed", "cut" (a response broken off), "idle",
	// "policy" (its permission ended), "shutdown", "error".
	End string
	// Fault is why TLS could not be looked into, and Detail the sentences that
	// say it to a person, or what a parent proxy did not do, with what to do;
	// empty where nothing was wrong.
	Fault  Fault
	Detail string
	// Open marks the line a long passage gets at its start (after a minute);
	// the counts are not final.
	Open bool
	// Repeats marks the line that tells of so many repeats of the passage ID,
	// which has a line of its own. They have been counted (see Repeater).
	Repeats int
}

// Sink takes Records. Record must not block the caller, must not change r, and
// may be called from many goroutines at once.
type Sink interface {
	Record(r *Record)
}

// Book hands every Record to every sink, and keeps count of what is open. A
// panic in one sink reaches neither the gate nor the other sinks. The zero value
// is an empty book; fill in Sinks before use.
type Book struct {
	Sinks []Sink
	// Faults is told of a panic in a sink; nil: nobody is.
	Faults func(sink Sink, fault any)
}

// Record implements Sink.
func (b *Book) Record(r *Record) {
	for _, s := range b.Sinks {
		b.hand(s, r)
	}
}

func (b *Book) hand(s Sink, r *Record) {
	defer b.contain(s)
	s.Record(r)
}

// Opener is a Sink that also wants to know when a passage begins, for gauges of
// what is open. Book passes it on.
type Opener interface {
	Opened(surface policy.Surface)
}

// Opened tells the sinks that care that a passage began; its Record follows.
// Passages of a DNS question need not be opened.
func (b *Book) Opened(surface policy.Surface) {
	for _, s := range b.Sinks {
		if o, ok := s.(Opener); ok {
			b.tell(s, o, surface)
		}
	}
}

// Repeater is a Sink that counts every passage, also those that have no Record
// of their own because they repeat one: n more like r, each of which took that
// long. A line that tells of them may follow, with Repeats filled in.
type Repeater interface {
	Repeated(r *Record, n int, took time.Duration)
}

// Repeated tells the sinks that count of n more passages like r.
func (b *Book) Repeated(r *Record, n int, took time.Duration) {
	for _, s := range b.Sinks {
		if c, ok := s.(Repeater); ok {
			b.repeat(s, c, r, n, took)
		}
	}
}

func (b *Book) repeat(s Sink, c Repeater, r *Record, n int, took time.Duration) {
	defer b.contain(s)
	c.Repeated(r, n, took)
}

func (b *Book) tell(s Sink, o Opener, surface policy.Surface) {
	defer b.contain(s)
	o.Opened(surface)
}

// contain keeps a panic in sink s away from the gate.
func (b *Book) contain(s Sink) {
	if fault := recover(); fault != nil && b.Faults != nil {
		b.Faults(s, fault)
	}
}
