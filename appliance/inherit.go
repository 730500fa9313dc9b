package appliance

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"
)

// Inherited are the sockets that systemd has opened for this process (socket
// activation, sd_listen_fds(3)). They stay open while the process is started anew, so
// that who connects in the meantime waits instead of being refused. The caller owns
// them; asked twice, there are none.
func Inherited() []*os.File { return activation.Files(true) }

// inheritance is sockets opened by somebody else, by the address they listen on.
// The zero value has none.
type inheritance struct {
	streams map[netip.AddrPort]net.Listener
	packets map[netip.AddrPort]*net.UDPConn
}

// inherit takes files over: they are closed, what they stand for is open. Where one
// is of another kind, none stays.
func inherit(files []*os.File) (*inheritance, error) {
	i := &inheritance{streams: map[netip.AddrPort]net.Listener{}, packets: map[netip.AddrPort]*net.UDPConn{}}
	var err error
	for _, f := range files {
		err = errors.Join(err, i.take(f))
	}
	if err != nil {
		i.close()
		return nil, err
	}
	return i, nil
}

func (i *inheritance) take(f *os.File) error {
	defer f.Close()
	if ln, err := net.FileListener(f); err == nil {
		tcp, ok := ln.(*net.TCPListener)
		if !ok {
			ln.Close()
			return fmt.Errorf("the socket %s listens on %s, which is no TCP address; take it out of the socket unit", f.Name(), ln.Addr())
		}
		i.streams[plainAddr(tcp.Addr().(*net.TCPAddr).AddrPort())] = tcp
		return i.likeOurs(tcp)
	}
	pc, err := net.FilePacketConn(f)
	if err != nil {
		return fmt.Errorf("the socket %s is neither TCP that listens nor UDP (%w); take it out of the socket unit", f.Name(), err)
	}
	udp, ok := pc.(*net.UDPConn)
	if !ok {
		pc.Close()
		return fmt.Errorf("the socket %s is at %s, which is no UDP address; take it out of the socket unit", f.Name(), pc.LocalAddr())
	}
	i.packets[plainAddr(udp.LocalAddr().(*net.UDPAddr).AddrPort())] = udp
	return nil
}

// likeOurs sets on a listener what listenTCP sets.
func (i *inheritance) likeOurs(ln *net.TCPListener) error {
	if !keepAliveInherited {
		return nil
	}
	raw, err := ln.SyscallConn()
	if err != nil {
		return err
	}
	return keepAlive("", "", raw)
}

// stream gives the TCP listener at an address, once; nil where there is none.
func (i *inheritance) stream(at string) net.Listener {
	key := keyOf(at)
	ln, ok := i.streams[key]
	if !ok {
		return nil
	}
	delete(i.streams, key)
	return ln
}

// packet gives the UDP socket at an address, once; nil where there is none.
func (i *inheritance) packet(at string) *net.UDPConn {
	key := keyOf(at)
	udp := i.packets[key]
	delete(i.packets, key)
	return udp
}

// unused says which sockets nobody wanted: who connects to one would wait for ever.
func (i *inheritance) unused() error {
	var left []string
	for at := range i.streams {
		left = append(left, at.String()+" (TCP)")
	}
	for at := range i.packets {
		left = append(left, at.String()+" (UDP)")
	}
	if len(left) == 0 {
		return nil
	}
	slices.Sort(left)
	return fmt.Errorf("systemd's socket unit listens on %s, which no listen key of gatehouse.toml names; name it there, or take it out of the unit", strings.Join(left, ", "))
}

func (i *inheritance) close() {
	for _, ln := range i.streams {
		ln.Close()
	}
	for _, udp := range i.packets {
		udp.Close()
	}
}

// keyOf is an address of gatehouse.toml as a key; one with port 0 is nobody's.
func keyOf(at string) netip.AddrPort {
	ap, err := netip.ParseAddrPort(at)
	if err != nil || ap.Port() == 0 {
		return netip.AddrPort{}
	}
	return plainAddr(ap)
}

func plainAddr(ap netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
