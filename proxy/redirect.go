package proxy

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/pires/go-proxyproto"
	"golang.org/x/sys/unix"

	"gatehouse/policy"
)

// redirect is how a connection came that its client opened to somebody else: by
// the kernel's hand (REDIRECT, DNAT), or by that of a load balancer.
type redirect struct {
	from []netip.Prefix // who tells by PROXY protocol
	to   netip.AddrPort // where the client wanted to go
}

// ServeGateway takes redirected connections from ln, as Serve takes those of the
// proxy port. Peers in from begin with a PROXY protocol header (version 1 or 2)
// that says who connects to where; all others are asked of the kernel.
func (s *Server) ServeGateway(ctx context.Context, ln net.Listener, from []netip.Prefix) error {
	return s.take(ctx, ln, func(conn net.Conn) {
		c := newClientConn(s, conn)
		c.redirect = &redirect{from: from}
		s.accept(c)
	})
}

// balanced reports whether the peer is one that tells by PROXY protocol.
func (r *redirect) balanced(peer netip.Addr) bool {
	return slices.ContainsFunc(r.from, func(p netip.Prefix) bool { return p.Contains(peer) })
}

// locate finds out who wanted to go where. The error is for the log alone: a
// connection that nobody redirected has no client to be told anything.
func (c *clientConn) locate() error {
	if !c.redirect.balanced(c.addr) {
		to, err := originalDestination(c.conn)
		c.redirect.to = to
		return err
	}
	c.conn.SetReadDeadline(time.Now().Add(c.server.config.Opening))
	defer c.conn.SetReadDeadline(time.Time{})
	header, err := readProxyHeader(c.in)
	if err != nil {
		return err
	}
	from, to, ok := header.TCPAddrs()
	if !ok || header.Command.IsLocal() {
		return errNoAddresses
	}
	client := from.AddrPort().Addr().Unmap().WithZone("")
	c.redirect.to = unmapped(to.AddrPort())
	if !c.server.recount(c, client) {
		return fmt.Errorf("%w for %s", errTooMany, client)
	}
	return nil
}

var (
	errNoAddresses = errors.New("the PROXY protocol header names no TCP addresses")
	errNoHeader    = errors.New("a sender in listen.gateway_from must begin with a PROXY protocol header")
	errTooMany     = errors.New("too many connections")
)

func unmapped(ap netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}

const (
	// longestV1 is the longest header of version 1, with its line end (PROXY
	// protocol, section 2.1).
	longestV1 = 107
	// headV2 is what each header of version 2 begins with; its last two octets
	// say how much follows (section 2.2).
	headV2 = 16
	// longestV2 leaves room for the vendor extensions of load balancers.
	longestV2 = 4096
)

// readProxyHeader reads a header and not an octet more.
func readProxyHeader(in *wire) (*proxyproto.Header, error) {
	n, err := proxyHeaderLength(in)
	if err != nil {
		return nil, err
	}
	b, err := in.Peek(n)
	if err != nil {
		return nil, err
	}
	header, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(b)))
	if err != nil {
		return nil, fmt.Errorf("read a PROXY protocol header: %w", err)
	}
	in.Discard(n)
	return header, nil
}

func proxyHeaderLength(in *wire) (int, error) {
	signature := proxyproto.SIGV2
	b, err := in.Peek(len("PROXY "))
	switch {
	case err != nil:
		return 0, err
	case bytes.Equal(b, []byte("PROXY ")):
		for n := len(b); n <= longestV1; n++ {
			if b, err = in.Peek(n); err != nil {
				return 0, err
			}
			if b[n-1] == '\n' {
				return n, nil
			}
		}
		return 0, errNoHeader
	case !bytes.HasPrefix(signature, b):
		return 0, errNoHeader
	}
	if b, err = in.Peek(headV2); err != nil {
		return 0, err
	}
	n := headV2 + int(binary.BigEndian.Uint16(b[14:]))
	if !bytes.HasPrefix(b, signature) || n > longestV2 {
		return 0, errNoHeader
	}
	return n, nil
}

// originalDestination asks the kernel where a redirected connection was going.
// One that was not redirected was going here.
func originalDestination(conn net.Conn) (to netip.AddrPort, err error) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return to, errors.New("no TCP connection")
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return to, err
	}
	four := clientAddr(conn).Is4()
	controlErr := raw.Control(func(fd uintptr) {
		if four {
			to, err = originalFour(int(fd))
		} else {
			to, err = originalSix(int(fd))
		}
	})
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOPROTOOPT) { // the kernel tracks no connections
		local, _ := conn.LocalAddr().(*net.TCPAddr)
		return unmapped(local.AddrPort()), nil
	}
	return to, errors.Join(err, controlErr)
}

// originalFour: the option gives a sockaddr_in, which x/sys reads by the type of
// an option of the same size: family, port and address from octet 2 on.
func originalFour(fd int) (netip.AddrPort, error) {
	v, err := unix.GetsockoptIPv6Mreq(fd, unix.SOL_IP, unix.SO_ORIGINAL_DST)
	if err != nil {
		return netip.AddrPort{}, err
	}
	b := v.Multiaddr
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:4])), nil
}

// originalSix: the option gives a sockaddr_in6, with which an option that x/sys
// knows begins. The port is in the network's order.
func originalSix(fd int) (netip.AddrPort, error) {
	v, err := unix.GetsockoptIPv6MTUInfo(fd, unix.SOL_IPV6, unix.SO_ORIGINAL_DST)
	if err != nil {
		return netip.AddrPort{}, err
	}
	port := binary.NativeEndian.AppendUint16(nil, v.Addr.Port)
	return netip.AddrPortFrom(netip.AddrFrom16(v.Addr.Addr), binary.BigEndian.Uint16(port)), nil
}

// refusedAtTheGate is the verdict on a connection to the gate's own doors.
func refusedAtTheGate() policy.Verdict { return policy.Verdict{Reason: policy.AddressNotAllowed} }
