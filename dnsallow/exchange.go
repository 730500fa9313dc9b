package dnsallow

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// question is what one upstream question asks, and the key of the cache.
type question struct {
	name  string // lower case, no trailing dot
	qtype uint16
}

// Observer is told of every attempt to ask an upstream: which, how long it
// took, and the error where there was no usable answer. It must not block.
type Observer func(upstream string, took time.Duration, err error)

// exchanger asks a list of upstreams one question. Each attempt has a socket, and thereby a source port, of its own (RFC 5452,
// section 9.2), an id from crypto/rand and a random case of letters ("0x20").
type exchanger struct {
	try     time.Duration // bound of one attempt
	total   time.Duration // bound of all attempts
	observe Observer
	now     func() time.Time
	health  health
}

// rounds is how often each upstream is tried.
const rounds = 2

// payload is the UDP size we offer and accept: what passes everywhere without
// fragments (DNS Flag Day 2020).
const payload = 1232

var errNoUpstream = errors.New("no upstream DNS server is configured")

// ask puts q to the upstreams in turn until one answers with yes or no.
func (x *exchanger) ask(ctx context.Context, servers []Upstream, q question) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, x.total)
	defer cancel()
	failure := errNoUpstream
	for range rounds {
		for _, u := range x.health.order(servers, x.now()) {
			reply, err := x.attempt(ctx, u, q)
			if err != nil && ctx.Err() != nil { // given up; the upstream is not to blame
				return nil, err
			}
			x.health.note(u, err, x.now())
			if err == nil {
				return reply, nil
			}
			failure = err
		}
	}
	return nil, failure
}

func (x *exchanger) attempt(ctx context.Context, u Upstream, q question) (reply *dns.Msg, err error) {
	began := time.Now()
	defer func() {
		if x.observe != nil {
			x.observe(u.String(), time.Since(began), err)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, x.try)
	defer cancel()
	reply, err = converse(ctx, u, compose(q))
	if err == nil && reply.Rcode == dns.RcodeFormatError { // an old server that knows no EDNS
		plain := compose(q)
		plain.Extra = nil
		reply, err = converse(ctx, u, plain)
	}
	if err != nil {
		return nil, err
	}
	if reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError {
		return nil, rcodeError{dns.RcodeToString[reply.Rcode]}
	}
	return reply, nil
}

// converse asks over UDP, and over TCP where the answer was truncated, where
// the upstream speaks nothing else, or where a UDP reply had our id but not our
// question to the letter: then either somebody guesses, or the server does not
// keep the case, and only TCP can tell.
func converse(ctx context.Context, u Upstream, m *dns.Msg) (*dns.Msg, error) {
	if !u.tcp {
		reply, err := overUDP(ctx, u, m)
		if err == nil && !reply.Truncated {
			return reply, nil
		}
		if err != nil && !errors.Is(err, errQuestionAltered) {
			return nil, err
		}
		m = m.Copy()
		m.Id = randomID()
		m.Question[0].Name = strings.ToLower(m.Question[0].Name)
	}
	return overTCP(ctx, u, m)
}

func overUDP(ctx context.Context, u Upstream, m *dns.Msg) (*dns.Msg, error) {
	conn, hangUp, err := dial(ctx, "udp", u)
	if err != nil {
		return nil, err
	}
	defer hangUp()
	conn.UDPSize = payload
	if err := conn.WriteMsg(m); err != nil {
		return nil, err
	}
	for {
		reply, err := conn.ReadMsg()
		switch {
		case err != nil && reply == nil && !errors.Is(err, dns.ErrShortRead):
			return nil, err // the socket failed, or time is up
		case err != nil || !reply.Response || reply.Id != m.Id:
			continue // a stranger's packet: the true answer may still come
		case !repeats(reply, m):
			return nil, errQuestionAltered
		}
		return reply, nil
	}
}

func overTCP(ctx context.Context, u Upstream, m *dns.Msg) (*dns.Msg, error) {
	conn, hangUp, err := dial(ctx, "tcp", u)
	if err != nil {
		return nil, err
	}
	defer hangUp()
	if err := conn.WriteMsg(m); err != nil {
		return nil, err
	}
	reply, err := conn.ReadMsg()
	switch {
	case err != nil && reply == nil:
		return nil, err
	case err != nil:
		return nil, invalidError("it cannot be read")
	case !reply.Response || reply.Id != m.Id || !repeats(reply, m):
		return nil, invalidError("it answers another question")
	}
	return reply, nil
}

// dial opens a socket for one question. The context ends its reads and writes.
func dial(ctx context.Context, network string, u Upstream) (conn *dns.Conn, hangUp func(), err error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, network, u.addr.String())
	if err != nil {
		return nil, nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		c.SetDeadline(deadline)
	}
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	return &dns.Conn{Conn: c}, func() { stop(); c.Close() }, nil
}

var errQuestionAltered = invalidError("it does not repeat our question to the letter")

// repeats reports whether a reply carries the question as it was asked, case
// and all.
func repeats(reply, m *dns.Msg) bool {
	return reply.Opcode == dns.OpcodeQuery && len(reply.Question) == 1 && reply.Question[0] == m.Question[0]
}

func compose(q question) *dns.Msg {
	m := &dns.Msg{MsgHdr: dns.MsgHdr{Id: randomID(), RecursionDesired: true}}
	m.Question = []dns.Question{{Name: randomCase(q.name) + ".", Qtype: q.qtype, Qclass: dns.ClassINET}}
	return m.SetEdns0(payload, false)
}

func randomID() uint16 {
	var b [2]byte
	rand.Read(b[:]) // never fails (crypto/rand, since Go 1.24)
	return binary.BigEndian.Uint16(b[:])
}

// randomCase turns letters upside down at random: a bit more for a forger to
// guess with each (draft-vixie-dnsext-dns0x20).
func randomCase(name string) string {
	mixed := []byte(name)
	coin := make([]byte, len(mixed))
	rand.Read(coin)
	for i, c := range mixed {
		if 'a' <= c && c <= 'z' && coin[i]&1 == 1 {
			mixed[i] = c - 'a' + 'A'
		}
	}
	return string(mixed)
}
