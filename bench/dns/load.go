package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/net/ipv4"
)

// scenario is a stream of questions.
type scenario struct {
	ask    func(client, n int) string // the name a client asks n-th
	want   byte                       // the response code, or anyCode
	window int                        // questions under way at once, each of a client of its own
	each   int                        // how many questions each client asks; 0: as many as there is time for
}

const (
	plainName = "www.permitted.example"
	busName   = "emergeen.permitted.example" // behind two aliases, like a Service Bus namespace
	refused   = "www.refused.example"
	noError   = 0
	anyCode   = 0xff
)

// The names of the scenario "uncached" are permitted one by one: below a
// wildcard they would be a tunnel. They are enough to fill gatehouse's cache.
const (
	clients        = 64
	uncachedNames  = 750 // of each client
	uncachedSuffix = ".uncached.example"
)

func always(name string) func(int, int) string { return func(int, int) string { return name } }

func everNew(c, n int) string { return fmt.Sprintf("h%d-%d.refused.example", c, n) }

func uncached(c, n int) string { return fmt.Sprintf("u%d-%d%s", c, n, uncachedSuffix) }

// patience is for how long an answer is waited for.
const patience = 2 * time.Second

// load is one socket that asks in the name of many clients, each of an address
// of its own on loopback with one question under way. Questions and answers go
// and come many to a system call, so that the load costs less than what it is
// put on.
type load struct {
	scenario
	conn *net.UDPConn
	many *ipv4.PacketConn

	questions, answers []ipv4.Message
	asked              []int // by each client
	awaited            []bool
	answered, lost     int
}

// put asks a server until a time is over, or each client has asked what it has
// to. It gives back how many questions were answered and lost.
func put(server netip.AddrPort, s scenario, length time.Duration) (answered, lost int, err error) {
	conn, err := net.ListenUDP("udp4", nil)
	if err != nil {
		return 0, 0, err
	}
	defer conn.Close()
	l := &load{scenario: s, conn: conn, many: ipv4.NewPacketConn(conn), asked: make([]int, s.window), awaited: make([]bool, s.window)}
	for c := range s.window {
		source := ipv4.ControlMessage{Src: net.IPv4(127, 0, 1, byte(c+1))}
		l.questions = append(l.questions, ipv4.Message{
			Buffers: [][]byte{nil}, OOB: source.Marshal(), Addr: net.UDPAddrFromAddrPort(server),
		})
		l.answers = append(l.answers, ipv4.Message{Buffers: [][]byte{make([]byte, 1500)}})
	}
	return l.run(time.Now().Add(length))
}

func (l *load) run(end time.Time) (answered, lost int, err error) {
	free := make([]int, l.window)
	for c := range free {
		free[c] = c
	}
	for under := 0; ; {
		if time.Now().Before(end) {
			n, err := l.send(free)
			if err != nil {
				return l.answered, l.lost, err
			}
			under += n
		}
		if under == 0 {
			return l.answered, l.lost, nil
		}
		if free, err = l.receive(free[:0]); err != nil {
			return l.answered, l.lost, err
		}
		under -= len(free)
	}
}

// send has each of the free clients ask its next question, if it has one.
func (l *load) send(free []int) (n int, err error) {
	batch := make([]ipv4.Message, 0, clients)
	for _, c := range free {
		if l.each > 0 && l.asked[c] == l.each {
			continue
		}
		l.questions[c].Buffers[0] = question(l.questions[c].Buffers[0][:0], l.id(c), l.ask(c, l.asked[c]))
		l.awaited[c] = true
		batch = append(batch, l.questions[c])
	}
	for n < len(batch) {
		sent, err := l.many.WriteBatch(batch[n:], 0)
		if err != nil {
			return n, err
		}
		n += sent
	}
	return n, nil
}

// id tells the client, and which of its questions: a late answer is not the next.
func (l *load) id(c int) uint16 { return uint16(l.asked[c]*clients + c) }

// receive waits for answers, and gives back the clients whose turn it is again:
// all, where there was none for too long.
func (l *load) receive(free []int) ([]int, error) {
	l.conn.SetReadDeadline(time.Now().Add(patience))
	n, err := l.many.ReadBatch(l.answers, 0)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		for c := range l.awaited {
			if l.awaited[c] {
				l.lost++
				free = l.turn(free, c)
			}
		}
		return free, nil
	}
	if err != nil {
		return free, err
	}
	for _, m := range l.answers[:n] {
		reply := m.Buffers[0][:m.N]
		if len(reply) < 12 {
			continue
		}
		id := binary.BigEndian.Uint16(reply)
		c := int(id % clients)
		if c >= l.window || !l.awaited[c] || id != l.id(c) {
			continue
		}
		if l.want != anyCode && (reply[3]&0xf != l.want || binary.BigEndian.Uint16(reply[6:]) == 0) {
			return free, fmt.Errorf("%s: response code %d, %d answers", l.ask(c, l.asked[c]), reply[3]&0xf, binary.BigEndian.Uint16(reply[6:]))
		}
		l.answered++
		free = l.turn(free, c)
	}
	return free, nil
}

func (l *load) turn(free []int, c int) []int {
	l.awaited[c] = false
	l.asked[c]++
	return append(free, c)
}

// question is one for an IPv4 address, without EDNS.
func question(b []byte, id uint16, name string) []byte {
	b = binary.BigEndian.AppendUint16(b, id)
	b = append(b, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0)
	b = appendName(b, name)
	return append(b, 0, 1, 0, 1)
}

func appendName(b []byte, name string) []byte {
	for label := range strings.SplitSeq(name, ".") {
		b = append(b, byte(len(label)))
		b = append(b, label...)
	}
	return append(b, 0)
}
