package dnsallow

import (
	"context"
	"crypto/tls"
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

// readPackets reads questions from one UDP socket until ctx ends. What nobody has
// to be waited for is answered on the spot; for all else there are goroutines,
// counted in work. Those that the gate lets in may wait for an upstream; a few
// more may be about to be turned away; then the socket's own queue has to hold.
func (s *Server) readPackets(ctx, questions context.Context, conn *net.UDPConn, box *postbox, work *sync.WaitGroup) error {
	port := newPacketPort(conn)
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(past) })
	defer stop()
	d := desk{Server: s, ctx: ctx, questions: questions, port: port, box: box, work: work, jobs: make(chan job), out: make([]byte, 0, payload)}
	buf := make([]byte, longestQuestion)
	for {
		err := port.each(buf, d.receive)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("dns: serve %s: %w", conn.LocalAddr(), err)
		default:
			s.log.Warn("dns: reading from UDP", "error", err)
			rest(ctx)
		}
	}
}

// packetPort reads packets from a socket and answers from the very address they
// were sent to.
type packetPort interface {
	// each reads packets, each into buf, until there is an error. What answer says
	// to one goes back at once; nil: nothing does.
	each(buf []byte, answer func(packet []byte, from sender) (reply []byte)) error
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

func (p onePort) each(buf []byte, answer func([]byte, sender) []byte) error {
	for {
		n, addr, err := p.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return err
		}
		from := sender{addr: addr}
		if reply := answer(buf[:n], from); reply != nil {
			p.write(reply, from)
		}
	}
}

func (p onePort) write(packet []byte, to sender) error {
	_, err := p.conn.WriteToUDPAddrPort(packet, to.addr)
	return err
}

// wildPort is a socket of every address of the machine.
type wildPort struct{ conn *net.UDPConn }

func (p wildPort) each(buf []byte, answer func([]byte, sender) []byte) error {
	for {
		n, session, err := dns.ReadFromSessionUDP(p.conn, buf)
		if err != nil {
			return err
		}
		addr, _ := session.RemoteAddr().(*net.UDPAddr)
		from := sender{addr.AddrPort(), session}
		if reply := answer(buf[:n], from); reply != nil {
			p.write(reply, from)
		}
	}
}

func (p wildPort) write(packet []byte, to sender) error {
	_, err := dns.WriteToSessionUDP(p.conn, packet, to.session)
	return err
}

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
	var told time.Time
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
			if now := s.now(); now.Sub(told).Abs() >= time.Minute { // each rest ends in the next
				s.log.Warn("dns: cannot accept TCP connections for now; questions by UDP are answered", "listener", l.Addr().String(), "error", err)
				told = now
			}
			rest(ctx)
			continue
		}
		client := addrOf(conn.RemoteAddr())
		line, idle := &s.lines, s.config.Idle
		if !s.live.Policy().Client(client, s.now()).Allowed() {
			line, idle = &s.porch, min(idle, strangerIdle)
		}
		if line.enter(client) != entered {
			conn.Close()
			s.fullHouse(client)
			continue
		}
		work.Go(func() {
			defer line.leave(client)
			s.converse(ctx, questions, conn, idle)
		})
	}
}

// LinesRefused is how many TCP connections were closed at once since the start,
// because their client, its network or all together had as many open as they may.
func (s *Server) LinesRefused() uint64 { return s.refused.Load() }

// fullHouse counts a connection that was closed at once, and says so: once a minute
// for each network, for whoever is at fault will try again.
func (s *Server) fullHouse(client netip.Addr) {
	s.refused.Add(1)
	if s.full.take(networkOf(client), s.now()) {
		s.log.Warn("dns: a TCP connection was closed at once: this client, its network or all together have as many open as they may", "client", client)
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
		wait(conn, idle)
		if ctx.Err() != nil { // it ended before the deadline was set anew
			return
		}
		packet, err := readFramed(conn, longestQuestion)
		if err != nil {
			return
		}
		if !answerable(packet) {
			return // what is no question ends the connection
		}
		room <- struct{}{}
		work.Go(func() {
			defer func() { <-room }()
			line.write(s.respondOn(questions, packet, conn))
		})
	}
}

// wait gives a connection so long to bring the next message. Who reads from TLS also
// writes: its handshake, and the answer to each KeyUpdate (RFC 8446, section 4.6.3). A
// client that takes none of that would hold up the reader, and the end of the gate, for
// as long as it likes.
func wait(conn net.Conn, idle time.Duration) {
	until := time.Now().Add(idle)
	conn.SetReadDeadline(until)
	if _, secure := conn.(*tls.Conn); secure {
		conn.SetWriteDeadline(until)
	}
}

// respondOn answers one packet of a connection.
func (s *Server) respondOn(ctx context.Context, packet []byte, conn net.Conn) []byte {
	in, ok := s.read(packet, conn.RemoteAddr(), true)
	if !ok {
		return nil
	}
	_, in.secure = conn.(*tls.Conn)
	return s.attend(ctx, in)
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

// longestQuestion is how much of a message is looked at; the rest is cut off. A
// question with its EDNS options, padded and signed, is far shorter.
const longestQuestion = 4096

// readFramed reads one message with its length before it (RFC 1035, section
// 4.2.2), and keeps the first octets of it, most at most: the sender says how long
// it is, and is not to say how much memory it takes.
func readFramed(r io.Reader, most int) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(length[:]))
	packet := make([]byte, min(n, most))
	if _, err := io.ReadFull(r, packet); err != nil {
		return nil, err
	}
	if n > len(packet) {
		if _, err := io.CopyN(io.Discard, r, int64(n-len(packet))); err != nil {
			return nil, err
		}
	}
	return packet, nil
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
