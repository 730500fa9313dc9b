package dnsallow

import (
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"gatehouse/internal/nowait"
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
	fd      uintptr
	carries *dispatch // nil: nothing
	until   time.Time
}

func newCourier(family int) (*courier, error) {
	fd, err := newPackets(family)
	if err != nil {
		return nil, err
	}
	return &courier{family: family, fd: fd}, nil
}

func (c *courier) close() { nowait.Close(c.fd) }

// maxStrays is more than there is room for in a socket.
const maxStrays = 4096

// send asks a peer from a new port. What came to the one before, too late, is
// thrown away first, so that nothing can have lain in wait for the new question.
func (c *courier) send(query []byte, to netip.AddrPort) error {
	var nothing [1]byte
	for range maxStrays {
		if _, errno := nowait.Read(c.fd, nothing[:]); errno == syscall.EAGAIN {
			break
		}
	}
	if errno := nowait.Connect(c.fd, to); errno != 0 {
		return os.NewSyscallError("connect", errno)
	}
	if _, errno := nowait.Write(c.fd, query); errno != 0 {
		return os.NewSyscallError("write", errno)
	}
	return nil
}

// receive reads a packet for d, nil where it is a stray one. n is negative where
// there is none.
func (c *courier) receive(room []byte) (d *dispatch, n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, errno := nowait.Read(c.fd, room)
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
	if nowait.Disconnect(c.fd) != 0 {
		return false
	}
	if !c.proven {
		local, errno := nowait.Name(c.fd)
		c.proven = errno == 0 && local.Port() == 0
	}
	return c.proven
}
