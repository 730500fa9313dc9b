package appliance

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// listeners are the open doors of an appliance.
type listeners struct {
	proxy   []net.Listener
	dnsTCP  []net.Listener
	dnsUDP  []*net.UDPConn
	dnsTLS  []net.Listener // of TCP: TLS is spoken on top
	metrics []net.Listener
	pac     []net.Listener
	gateway []net.Listener
	admin   net.Listener
	control net.Listener // nil where state.dir cannot hold it
	// published are the published doors, which come and go; nil: there are none.
	// Whoever opens them closes them.
	published func() []net.Listener

	given *inheritance // what was open before us, as far as nobody has taken it
}

// openListeners opens all that c names, or takes it from what was given; where one
// cannot be opened, or something given is wanted by nobody, none stays.
func openListeners(c ListenConfig, given *inheritance) (*listeners, error) {
	l := &listeners{given: given}
	err := errors.Join(
		each(c.Proxy, "listen.proxy", func(at string) error { return l.tcp(&l.proxy, at) }),
		each(c.DNS, "listen.dns", l.dns),
		each(c.DNSTLS, "listen.dns_tls", func(at string) error { return l.tcp(&l.dnsTLS, at) }),
		each(c.Metrics, "listen.metrics", func(at string) error { return l.tcp(&l.metrics, at) }),
		each(c.PAC, "listen.pac", func(at string) error { return l.tcp(&l.pac, at) }),
		each(c.Gateway, "listen.gateway", func(at string) error { return l.tcp(&l.gateway, at) }),
		each([]Address{c.Admin}, "listen.admin", func(at string) (err error) {
			l.admin, err = l.stream(at, plainTCP)
			return err
		}),
	)
	if err == nil {
		err = given.unused()
	}
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func each(list []Address, key string, open func(at string) error) error {
	for _, a := range list {
		if err := open(a.String()); err != nil {
			return fmt.Errorf("%s: %w; is another program using it? free it, or change %s", key, err, key)
		}
	}
	return nil
}

func (l *listeners) tcp(into *[]net.Listener, at string) error {
	ln, err := l.stream(at, listenTCP)
	if err == nil {
		*into = append(*into, ln)
	}
	return err
}

// stream takes the listener at an address from what was given, or opens it.
func (l *listeners) stream(at string, open func(at string) (net.Listener, error)) (net.Listener, error) {
	if ln := l.given.stream(at); ln != nil {
		return ln, nil
	}
	return open(at)
}

// plainTCP opens a door that few come through.
func plainTCP(at string) (net.Listener, error) { return net.Listen(network("tcp", at), at) }

// listenTCP opens a door that many come through: whatever can be said of all of
// them is said to the listener once. Multipath TCP is not spoken, for a client of it
// could not be asked where it was redirected from.
func listenTCP(at string) (net.Listener, error) {
	var door net.ListenConfig
	door.SetMultipathTCP(false)
	if keepAliveInherited {
		door.KeepAlive, door.Control = -1, keepAlive
	}
	return door.Listen(context.Background(), network("tcp", at), at)
}

// network is tcp or udp, bound to IPv4 where the address says so: "0.0.0.0"
// means every IPv4 address, but package net would open IPv6 along with it.
func network(transport, at string) string {
	if ap, err := netip.ParseAddrPort(at); err == nil && ap.Addr().Is4() {
		return transport + "4"
	}
	return transport
}

// dns opens one address for TCP and UDP. Where the system chooses the port, it
// may choose one for TCP that is taken for UDP: then it is asked again.
func (l *listeners) dns(at string) error {
	for tries := 1; ; tries++ {
		tcp, err := l.stream(at, plainTCP)
		if err != nil {
			return err
		}
		udp := l.given.packet(at)
		if udp == nil {
			udp, err = net.ListenUDP(network("udp", at), net.UDPAddrFromAddrPort(tcp.Addr().(*net.TCPAddr).AddrPort()))
		}
		if err == nil {
			l.dnsTCP, l.dnsUDP = append(l.dnsTCP, tcp), append(l.dnsUDP, udp)
			return nil
		}
		tcp.Close()
		if tcp.Addr().String() == at || tries == 10 {
			return err
		}
	}
}

func (l *listeners) close() {
	l.given.close()
	for _, ln := range l.streams() {
		ln.Close()
	}
	for _, pc := range l.dnsUDP {
		pc.Close()
	}
}

// streams are all that is open but UDP.
func (l *listeners) streams() []net.Listener {
	all := slices.Concat(l.proxy, l.dnsTCP, l.dnsTLS, l.metrics, l.pac, l.gateway)
	for _, ln := range []net.Listener{l.admin, l.control} {
		if ln != nil {
			all = append(all, ln)
		}
	}
	return all
}

// own reports whether dialling to would lead to one of these listeners.
func (l *listeners) own(to netip.AddrPort) bool {
	addr := to.Addr().Unmap().WithZone("")
	all := l.streams()
	if l.published != nil {
		all = append(all, l.published()...)
	}
	for _, ln := range all {
		tcp, ok := ln.Addr().(*net.TCPAddr)
		if !ok || tcp.Port != int(to.Port()) {
			continue
		}
		at := tcp.AddrPort().Addr().Unmap()
		switch {
		case at == addr, addr.IsUnspecified(): // dialling 0.0.0.0 reaches this machine
			return true
		case at.IsUnspecified() && ofThisMachine(addr):
			return true
		}
	}
	return false
}

// ofThisMachine reports whether packets to addr stay on this machine. Where the
// system does not tell, they do.
func ofThisMachine(addr netip.Addr) bool {
	if addr.IsLoopback() {
		return true
	}
	list, err := net.InterfaceAddrs()
	if err != nil {
		return true
	}
	for _, a := range list {
		if n, ok := a.(*net.IPNet); ok {
			if own, ok := netip.AddrFromSlice(n.IP); ok && own.Unmap() == addr {
				return true
			}
		}
	}
	return false
}
