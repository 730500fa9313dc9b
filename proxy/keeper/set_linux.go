package keeper

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// set is an epoll set that stands in Go's own poller, so that waiting for it
// occupies no thread. Descriptors in it are watched edge-triggered: each news is
// told once. They leave it when they are closed.
type set struct {
	file *os.File
	raw  syscall.RawConn
}

// interest is what is told of a descriptor.
type interest uint32

const (
	everything interest = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLPRI | unix.EPOLLET
	// onlyErrors: of a reset epoll tells always.
	onlyErrors interest = unix.EPOLLET
)

// newSet makes a set; nil where the system gives none.
func newSet() *set {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil
	}
	if unix.SetNonblock(fd, true) != nil { // only then NewFile asks the poller
		unix.Close(fd)
		return nil
	}
	s := &set{file: os.NewFile(uintptr(fd), "tunnels")}
	if s.raw, err = s.file.SyscallConn(); err != nil || s.file.SetReadDeadline(time.Time{}) != nil {
		s.file.Close()
		return nil
	}
	return s
}

// close ends wait. A nil set has nothing to close.
func (s *set) close() {
	if s != nil {
		s.file.Close()
	}
}

// add takes a connection into the set; events carry its key.
func (s *set) add(c *side, key uint64, want interest) error {
	return s.control(unix.EPOLL_CTL_ADD, c, key, want)
}

// change says anew what is wanted of a connection. What is so already is told
// again (epoll looks when it is asked), so nothing is lost in between.
func (s *set) change(c *side, key uint64, want interest) error {
	return s.control(unix.EPOLL_CTL_MOD, c, key, want)
}

// control works inside the callbacks of both descriptors: neither can be closed,
// and its number given to something else, before the call has returned.
func (s *set) control(op int, c *side, key uint64, want interest) error {
	event := unix.EpollEvent{Events: uint32(want), Fd: int32(uint32(key)), Pad: int32(key >> 32)}
	var err error
	outer := s.raw.Control(func(set uintptr) {
		inner := c.raw.Control(func(fd uintptr) { err = unix.EpollCtl(int(set), op, int(fd), &event) })
		if inner != nil {
			err = inner
		}
	})
	if outer != nil {
		return outer
	}
	return err
}

// keyOf reads back the key of an event.
func keyOf(e *unix.EpollEvent) uint64 { return uint64(uint32(e.Pad))<<32 | uint64(uint32(e.Fd)) }

// wait hands every lot of events to handle until the set is closed.
func (s *set) wait(handle func([]unix.EpollEvent)) {
	events := make([]unix.EpollEvent, 256)
	var n int
	ready := func(fd uintptr) bool {
		var err error
		for n, err = unix.EpollWait(int(fd), events, 0); err == unix.EINTR; {
			n, err = unix.EpollWait(int(fd), events, 0)
		}
		return n != 0
	}
	for s.raw.Read(ready) == nil {
		if n > 0 {
			handle(events[:n])
		}
	}
}
