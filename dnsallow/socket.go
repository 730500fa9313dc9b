package dnsallow

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// writeTimeout bounds the sending of one reply over TCP.
const writeTimeout = 5 * time.Second

// afterFault is how long a reader rests after an error of its socket that is
// not its end (out of descriptors, say).
const afterFault = 50 * time.Millisecond

// past is a deadline that ends a read at once.
var past = time.Unix(1, 0)

// readPackets reads questions from one UDP socket until ctx ends. What a client
// was told before is answered on the spot; for all else there are goroutines,
// counted in work. Those that the gate lets in may wait for an upstream; a few
// more may be about to be turned away; then the socket's own queue has to hold.
func (s *Server) readPackets(ctx, questions context.Context, conn *net.UDPConn, work *sync.WaitGroup) error {
	port := newPacketPort(conn)
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(past) })
	defer stop()
	buf, out, jobs := make([]byte, dns.MaxMsgSize), make([]byte, 0, payload), make(chan job)
	for {
		n, from, err := port.read(buf)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("dns: serve %s: %w", conn.LocalAddr(), err)
		case err != nil:
			s.log.Warn("dns: reading from UDP", "error", err)
			rest(ctx)
			continue
		}
		if reply := s.again(out, buf[:n], from.addr.Addr()); reply != nil {
			port.answer(reply, from)
			continue
		}
		select {
		case s.workers <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		j := job{append([]byte(nil), buf[:n]...), from}
		select {
		case jobs <- j:
		default: // nobody is idle
			work.Go(func() { s.work(ctx, questions, port, j, jobs) })
		}
	}
}

// job is one packet that has to be judged.
type job struct {
	packet []byte
	from   sender
}

// idleWorkers is how many goroutines of a socket wait for the next packet. A new
// one grows its stack anew each time, which costs as much as the judging.
const idleWorkers = 64

// work answers a packet, and then others for as long as there is room among the
// idle.
func (s *Server) work(ctx, questions context.Context, port packetPort, j job, jobs <-chan job) {
	for {
		s.serve(questions, port, j)
		if s.idle.Add(1) > idleWorkers {
			s.idle.Add(-1)
			return
		}
		select {
		case <-ctx.Done():
			s.idle.Add(-1)
			return
		case j = <-jobs:
			s.idle.Add(-1)
		}
	}
}

func (s *Server) serve(questions context.Context, port packetPort, j job) {
	defer func() { <-s.workers }()
	if reply := s.respond(questions, j.packet, net.UDPAddrFromAddrPort(j.from.addr), false); reply != nil {
		port.write(reply, j.from) // a client that is gone asks again
	}
}

// again answers, in the space of out, what this client was told before; nil:
// respond has to. A panic costs the short way and nothing else.
func (s *Server) again(out, packet []byte, client netip.Addr) (reply []byte) {
	defer func() {
		if fault := recover(); fault != nil {
			s.log.Error("dns: an answer that lay ready could not be given", "fault", fault)
			reply = nil
		}
	}()
	if s.config.NoShelf {
		return nil
	}
	return s.shelf.reply(out[:0], packet, client.Unmap().WithZone(""), s.live.Policy(), s.now())
}

// packetPort reads packets from a socket and answers from the very address they
// were sent to.
type packetPort interface {
	read(buf []byte) (n int, from sender, err error)
	// answer replies at once to what was read last.
	answer(packet []byte, to sender)
	// write replies at any time, from any goroutine.
	write(packet []byte, to sender) error
}

// sender is where a packet came from and, on a socket of many addresses, which
// of them it was sent to.
type sender struct {
	addr    netip.AddrPort
	session *dns.SessionUDP
}

func newPacketPort(conn *net.UDPConn) packetPort {
	if local, ok := conn.LocalAddr().(*net.UDPAddr); ok && !local.IP.IsUnspecified() {
		return newOnePort(conn)
	}
	answerFromWhereAsked(conn)
	return wildPort{conn}
}

// onePort is a socket of one address.
type onePort struct{ conn *net.UDPConn }

func (p onePort) read(buf []byte) (int, sender, error) {
	n, addr, err := p.conn.ReadFromUDPAddrPort(buf)
	return n, sender{addr: addr}, err
}

func (p onePort) write(packet []byte, to sender) error {
	_, err := p.conn.WriteToUDPAddrPort(packet, to.addr)
	return err
}

func (p onePort) answer(packet []byte, to sender) { p.write(packet, to) }

// wildPort is a socket of every address of the machine.
type wildPort struct{ conn *net.UDPConn }

func (p wildPort) read(buf []byte) (int, sender, error) {
	n, session, err := dns.ReadFromSessionUDP(p.conn, buf)
	if err != nil {
		return n, sender{}, err
	}
	from, _ := session.RemoteAddr().(*net.UDPAddr)
	return n, sender{from.AddrPort(), session}, nil
}

func (p wildPort) write(packet []byte, to sender) error {
	_, err := dns.WriteToSessionUDP(p.conn, packet, to.session)
	return err
}

func (p wildPort) answer(packet []byte, to sender) { p.write(packet, to) }

// answerFromWhereAsked has the kernel tell the address each packet came to, so
// that a wildcard socket answers from it. A system that cannot is no reason not
// to serve.
func answerFromWhereAsked(conn *net.UDPConn) {
	ipv4.NewPacketConn(conn).SetControlMessage(ipv4.FlagDst|ipv4.FlagInterface, true)
	ipv6.NewPacketConn(conn).SetControlMessage(ipv6.FlagDst|ipv6.FlagInterface, true)
}

// accept takes TCP connections until ctx ends.
func (s *Server) accept(ctx, questions context.Context, l net.Listener, work *sync.WaitGroup) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for {
		conn, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				conn.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("dns: serve %s: %w", l.Addr(), err)
		case err != nil:
			s.log.Warn("dns: accepting a TCP connection", "error", err)
			rest(ctx)
			continue
		}
		client := addrOf(conn.RemoteAddr())
		line, idle := &s.lines, s.config.Idle
		if !s.live.Policy().Client(client, s.now()).Allowed() {
			line, idle = &s.porch, min(idle, strangerIdle)
		}
		release, how := line.enter(client)
		if how != entered {
			conn.Close()
			continue
		}
		work.Go(func() {
			defer release()
			s.converse(ctx, questions, conn, idle)
		})
	}
}

// pipelined is how many questions of one connection may be under way.
const pipelined = 16

// converse answers the questions of one connection until the client hangs up,
// falls silent or the server ends. They are answered as they are ready (RFC 7766,
// section 6.2.1.1): a name that waits for an upstream holds up no other.
func (s *Server) converse(ctx, questions context.Context, conn net.Conn, idle time.Duration) {
	defer conn.Close()
	var work sync.WaitGroup
	defer work.Wait()
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(past) })
	defer stop()
	line := tcpLine{conn: conn}
	room := make(chan struct{}, pipelined)
	for {
		conn.SetReadDeadline(time.Now().Add(idle))
		if ctx.Err() != nil { // it ended before the deadline was set anew
			return
		}
		packet, err := readFramed(conn)
		if err != nil {
			return
		}
		if !answerable(packet) {
			return // what is no question ends the connection
		}
		room <- struct{}{}
		work.Go(func() {
			defer func() { <-room }()
			line.write(s.respond(questions, packet, conn.RemoteAddr(), true))
		})
	}
}

// tcpLine writes the replies of one connection, one at a time.
type tcpLine struct {
	conn net.Conn
	mu   sync.Mutex
}

// write sends a reply. Where there is none, or it cannot be sent, the connection
// is at its end.
func (l *tcpLine) write(reply []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	if reply == nil || writeFramed(l.conn, reply) != nil {
		l.conn.Close()
	}
}

// readFramed reads one message with its length before it (RFC 1035, section
// 4.2.2).
func readFramed(r io.Reader) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	packet := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(r, packet)
	return packet, err
}

func writeFramed(w io.Writer, packet []byte) error {
	framed := binary.BigEndian.AppendUint16(make([]byte, 0, len(packet)+2), uint16(len(packet)))
	_, err := w.Write(append(framed, packet...))
	return err
}

// rest pauses a reader, unless the server ends first.
func rest(ctx context.Context) {
	pause := time.NewTimer(afterFault)
	defer pause.Stop()
	select {
	case <-ctx.Done():
	case <-pause.C:
	}
}
