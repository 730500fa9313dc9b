package dnsallow

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// letter is one question under way to an upstream over UDP. It has a socket, and
// thereby a source port, of its own (RFC 5452, section 9.2), an id from
// crypto/rand and a random case of letters ("0x20"). Whoever posts it closes it.
type letter struct {
	upstream Upstream
	socket   packetSocket
	posted   time.Time
	query    []byte // in space

	// answered: reply or err is what became of it, and nothing more will come.
	answered bool
	reply    *dns.Msg
	err      error

	space [headerBytes + maxQuestion + optBytes]byte
	room  [payload]byte // for packets; a longer one is none that we asked for
}

// packetSocket is a connected UDP socket: the kernel drops what comes from
// anybody but the upstream, and tells of its refusals.
type packetSocket interface {
	io.ReadWriteCloser
	SetReadDeadline(time.Time) error
}

var letters = sync.Pool{New: func() any { return new(letter) }}

// write makes a letter that is not sent yet.
func write(u Upstream, q question, edns bool) *letter {
	l := letters.Get().(*letter)
	l.upstream, l.posted = u, time.Now()
	l.query = appendQuery(l.space[:0], q, edns)
	return l
}

// post sends a question off. Where that fails the letter is answered.
func post(u Upstream, q question, edns bool) *letter {
	l := write(u, q, edns)
	var err error
	if l.socket, err = dialPackets(u.addr); err == nil {
		_, err = l.socket.Write(l.query)
	}
	if err != nil {
		l.settle(nil, err)
	}
	return l
}

// close may be called once nobody reads any more.
func (l *letter) close() {
	if l.socket != nil {
		l.socket.Close()
	}
	l.socket, l.answered, l.reply, l.err = nil, false, nil, nil
	letters.Put(l)
}

func (l *letter) settle(reply *dns.Msg, err error) { l.answered, l.reply, l.err = true, reply, err }

// wait waits for the answer until a moment or the end of ctx. Where the moment
// comes first the letter is still under way, and may be waited for again.
func (l *letter) wait(ctx context.Context, until time.Time) {
	if l.answered {
		return
	}
	socket := l.socket // the letter's room may be another's by the time the function runs
	socket.SetReadDeadline(until)
	stop := context.AfterFunc(ctx, func() { socket.SetReadDeadline(past) })
	defer stop()
	for {
		n, err := socket.Read(l.room[:])
		switch {
		case ctx.Err() != nil:
			l.settle(nil, ctx.Err())
			return
		case errors.Is(err, os.ErrDeadlineExceeded):
			return
		case err != nil && err != io.EOF: // an empty packet is no end
			l.settle(nil, err)
			return
		}
		if reply, err := l.read(l.room[:n]); reply != nil || err != nil {
			l.settle(reply, err)
			return
		}
	}
}

// hear is what a read from the socket comes to: what a plain reply says, or a reply
// that has to be looked into, or an error. Neither: the true answer may still come.
func (l *letter) hear(packet []byte, failed error, q question, now time.Time) (f *facts, reply *dns.Msg, err error) {
	defer func() {
		if is := recover(); is != nil {
			f, reply, err = nil, nil, fault(is)
		}
	}()
	if failed != nil {
		return nil, nil, failed
	}
	if f, ok := readFacts(packet, l.query, q, now); ok {
		return f, nil, nil
	}
	reply, err = l.read(packet)
	return nil, reply, err
}

// read reads a packet; neither a reply nor an error: a stranger's, and the true
// answer may still come. A packet with our id that does not repeat our question
// to the letter is an error.
func (l *letter) read(packet []byte) (*dns.Msg, error) {
	if len(packet) < headerBytes || !bytes.Equal(packet[:2], l.query[:2]) || packet[2]&flagResponse == 0 {
		return nil, nil
	}
	reply := new(dns.Msg)
	if reply.Unpack(bytes.Clone(packet)) != nil { // it keeps no part of room
		return nil, nil
	}
	asked := l.query[headerBytes:questionEnd(l.query)]
	if reply.Opcode != dns.OpcodeQuery || len(reply.Question) != 1 || !bytes.HasPrefix(packet[headerBytes:], asked) {
		return nil, errQuestionAltered
	}
	return reply, nil
}

// appendQuery writes a question down. Its name is one that policy.ParseHost
// made: lower case, without escapes.
func appendQuery(b []byte, q question, edns bool) []byte {
	var chance [2 + 253]byte
	rand.Read(chance[:2+len(q.name)]) // never fails (crypto/rand, since Go 1.24)
	additional := byte(0)
	if edns {
		additional = 1
	}
	b = append(b, chance[0], chance[1], flagRecursion, 0, 0, 1, 0, 0, 0, 0, 0, additional)
	b = appendName(b, q.name, chance[2:])
	b = binary.BigEndian.AppendUint16(b, q.qtype)
	b = append(b, 0, dns.ClassINET)
	if edns {
		b = append(b, 0, 0, byte(dns.TypeOPT), payload>>8, payload&0xff, 0, 0, 0, 0, 0, 0)
	}
	return b
}

// appendName writes a name in wire form, each letter turned upside down where
// its coin says so.
func appendName(b []byte, name string, coins []byte) []byte {
	length := len(b)
	b = append(b, 0)
	for i := range len(name) {
		c := name[i]
		switch {
		case c == '.':
			length = len(b)
			b = append(b, 0)
			continue
		case 'a' <= c && c <= 'z' && coins[i]&1 == 1:
			c -= 'a' - 'A'
		}
		b[length]++
		b = append(b, c)
	}
	return append(b, 0)
}

// fault makes an error of a panic.
func fault(f any) error { return fmt.Errorf("a fault in gatehouse: %v", f) }
