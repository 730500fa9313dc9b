package dnsallow

import (
	"encoding/binary"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// courier is a socket of a postbox. It carries one question after another, each
// from a port that the kernel chooses anew, at random: where a UDP socket that was
// given no port of its own is connected to nobody (connect(2), AF_UNSPEC), it
// leaves its port, and takes another when it is connected again. A socket, its
// descriptor and its entry in a set cost three times as much to make and to end as
// that.
type courier struct {
	number int32
	family int
	proven bool // that it leaves its port

	mu      sync.Mutex // held while a question is sent
	fd      int
	carries *dispatch // nil: nothing
	until   time.Time
}

func newCourier(family int) (*courier, error) {
	fd, err := syscall.Socket(family, syscall.SOCK_DGRAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, syscall.IPPROTO_UDP)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	return &courier{family: family, fd: fd}, nil
}

func (c *courier) close() { syscall.Close(c.fd) }

// maxStrays is more than there is room for in a socket.
const maxStrays = 4096

// send asks a peer from a new port. What came to the one before, too late, is
// thrown away first, so that nothing can have lain in wait for the new question.
func (c *courier) send(query []byte, peer *peer) error {
	var nothing [1]byte
	for range maxStrays {
		if _, errno := readNow(c.fd, nothing[:]); errno == syscall.EAGAIN {
			break
		}
	}
	if errno := connectNow(c.fd, peer); errno != 0 {
		return os.NewSyscallError("connect", errno)
	}
	if errno := sendNow(c.fd, query); errno != 0 {
		return os.NewSyscallError("write", errno)
	}
	return nil
}

// receive reads a packet for d, nil where it is a stray one. n is negative where
// there is none.
func (c *courier) receive(room []byte) (d *dispatch, n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, errno := readNow(c.fd, room)
	switch errno {
	case 0:
	case syscall.EAGAIN:
		n = -1
	default:
		n, err = -1, os.NewSyscallError("read", errno)
	}
	return c.carries, n, err
}

// late is whose question the courier carries, if that takes too long or all are
// called back; it carries nothing from then on. Else it is until when there is time.
func (c *courier) late(now time.Time, all bool) (d *dispatch, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.carries == nil:
		return nil, time.Time{}
	case now.Before(c.until) && !all:
		return nil, c.until
	}
	d, c.carries = c.carries, nil
	return d, time.Time{}
}

// leavePort gives the port back. The first time it is seen whether this system
// does so: else each question must have a socket of its own.
func (c *courier) leavePort() bool {
	if connectNow(c.fd, &nobodyAtAll) != 0 {
		return false
	}
	if !c.proven {
		c.proven = portOf(c.fd) == 0
	}
	return c.proven
}

// portOf is the port of a socket, negative where it cannot be known.
func portOf(fd int) int {
	local, _ := syscall.Getsockname(fd)
	switch local := local.(type) {
	case *syscall.SockaddrInet4:
		return local.Port
	case *syscall.SockaddrInet6:
		return local.Port
	}
	return -1
}

// peer is an address as the kernel has it (struct sockaddr_in, sockaddr_in6).
type peer struct {
	raw    [syscall.SizeofSockaddrInet6]byte
	length uintptr
}

// nobodyAtAll is whom a socket is connected to so that it is to nobody.
var nobodyAtAll = peer{length: syscall.SizeofSockaddrInet4} // AF_UNSPEC is 0

func peerOf(a netip.AddrPort) (p peer) {
	binary.BigEndian.PutUint16(p.raw[2:], a.Port())
	if ip := a.Addr().Unmap(); ip.Is4() {
		binary.NativeEndian.PutUint16(p.raw[:], syscall.AF_INET)
		four := ip.As4()
		copy(p.raw[4:], four[:])
		p.length = syscall.SizeofSockaddrInet4
		return p
	}
	binary.NativeEndian.PutUint16(p.raw[:], syscall.AF_INET6)
	sixteen := a.Addr().As16()
	copy(p.raw[8:], sixteen[:])
	p.length = syscall.SizeofSockaddrInet6
	return p
}

func (p *peer) family() int { return int(binary.NativeEndian.Uint16(p.raw[:])) }

// connectNow connects a UDP socket, for which nothing is waited for.
func connectNow(fd int, to *peer) syscall.Errno {
	_, _, errno := syscall.RawSyscall(syscall.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&to.raw)), to.length)
	return errno
}
