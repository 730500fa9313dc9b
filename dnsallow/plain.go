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

// inTheClear asks over UDP, and over TCP where the answer was truncated, where
// the upstream is asked in no other way, or where a UDP reply had our id but not
// our question to the letter: then either somebody guesses, or the server does
// not keep the case, and only TCP can tell. posted is the question already under
// way over UDP, or nil.
func inTheClear(ctx context.Context, u Upstream, q question, edns bool, posted *letter) (*dns.Msg, error) {
	m := compose(q, edns)
	if u.how == overUDPFirst {
		reply, err := overUDP(ctx, u, q, edns, posted)
		if err == nil && !reply.Truncated {
			return reply, nil
		}
		if err != nil && !errors.Is(err, errQuestionAltered) {
			return nil, err
		}
		m.Question[0].Name = strings.ToLower(m.Question[0].Name)
	}
	return overTCP(ctx, u, m)
}

func overUDP(ctx context.Context, u Upstream, q question, edns bool, l *letter) (*dns.Msg, error) {
	if l == nil {
		l = post(u, q, edns)
		defer l.close()
	}
	l.wait(ctx, time.Time{})
	return l.reply, l.err
}

func overTCP(ctx context.Context, u Upstream, m *dns.Msg) (*dns.Msg, error) {
	conn, hangUp, err := dial(ctx, u)
	if err != nil {
		return nil, err
	}
	defer hangUp()
	return exchangeFramed(conn, m)
}

// exchangeFramed asks over a connection that holds nothing else.
func exchangeFramed(conn *dns.Conn, m *dns.Msg) (*dns.Msg, error) {
	if err := conn.WriteMsg(m); err != nil {
		return nil, err
	}
	reply, err := conn.ReadMsg()
	switch {
	case err != nil && reply == nil:
		return nil, err
	case err != nil:
		return nil, invalidError("it cannot be read")
	}
	return reply, answersTo(reply, m)
}

// answersTo holds a reply from a connection to its question.
func answersTo(reply, m *dns.Msg) error {
	if !reply.Response || reply.Id != m.Id || !repeats(reply, m) {
		return invalidError("it answers another question")
	}
	return nil
}

// dial opens a connection for one question. The context ends its reads and writes.
func dial(ctx context.Context, u Upstream) (conn *dns.Conn, hangUp func(), err error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", u.addr.String())
	if err != nil {
		return nil, nil, err
	}
	stop := obey(ctx, c)
	return &dns.Conn{Conn: c}, func() { stop(); c.Close() }, nil
}

// obey has a connection's reads and writes end with ctx, until stop is called.
func obey(ctx context.Context, c net.Conn) (stop func() bool) {
	deadline, _ := ctx.Deadline()
	c.SetDeadline(deadline)
	return context.AfterFunc(ctx, func() { c.SetDeadline(past) })
}

var errQuestionAltered = invalidError("it does not repeat our question to the letter")

// repeats reports whether a reply carries the question as it was asked, case
// and all.
func repeats(reply, m *dns.Msg) bool {
	return reply.Opcode == dns.OpcodeQuery && len(reply.Question) == 1 && reply.Question[0] == m.Question[0]
}

func compose(q question, edns bool) *dns.Msg {
	m := &dns.Msg{MsgHdr: dns.MsgHdr{Id: randomID(), RecursionDesired: true}}
	m.Question = []dns.Question{{Name: randomCase(q.name) + ".", Qtype: q.qtype, Qclass: dns.ClassINET}}
	if edns {
		m.SetEdns0(payload, false)
	}
	return m
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
