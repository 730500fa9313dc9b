package dnsallow

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
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

// readPackets reads questions from one UDP socket until ctx ends. Each is
// answered in a goroutine of its own, counted in work. Those that the gate lets
// in may wait for an upstream; a few more may be about to be turned away; then
// the socket's own queue has to hold.
func (s *Server) readPackets(ctx, questions context.Context, conn *net.UDPConn, work *sync.WaitGroup) error {
	answerFromWhereAsked(conn)
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(past) })
	defer stop()
	buf := make([]byte, dns.MaxMsgSize)
	for {
		n, session, err := dns.ReadFromSessionUDP(conn, buf)
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
		select {
		case s.workers <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		packet := append([]byte(nil), buf[:n]...)
		work.Go(func() {
			defer func() { <-s.workers }()
			if reply := s.respond(questions, packet, session.RemoteAddr(), false); reply != nil {
				dns.WriteToSessionUDP(conn, reply, session) // a client that is gone asks again
			}
		})
	}
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

// converse answers the questions of one connection, one after the other (RFC
// 7766, section 6.2.1, lets a server do so), until the client hangs up, falls
// silent or the server ends.
func (s *Server) converse(ctx, questions context.Context, conn net.Conn, idle time.Duration) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(past) })
	defer stop()
	for {
		conn.SetReadDeadline(time.Now().Add(idle))
		if ctx.Err() != nil { // it ended before the deadline was set anew
			return
		}
		packet, err := readFramed(conn)
		if err != nil {
			return
		}
		reply := s.respond(questions, packet, conn.RemoteAddr(), true)
		if reply == nil {
			return // what is no question ends the connection
		}
		conn.SetWriteDeadline(time.Now().Add(writeTimeout))
		if err := writeFramed(conn, reply); err != nil {
			return
		}
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
