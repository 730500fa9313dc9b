package keeper

import (
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"gatehouse/proxy/nowait"
)

// set is an epoll set that stands in Go's own poller, so that waiting for it
// occupies no thread. Descriptors in it are watched edge-triggered: each news is
// told once. They leave it when they are closed.
type set struct {
	file *os.File
	raw  syscall.RawConn
	fd   uintptr

	mu     sync.RWMutex // held while the set is changed
	closed bool
}

// interest is what is told of a descriptor.
type interest uint32

const (
	everything interest = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLPRI | unix.EPOLLET
	// writable: it is connected, or has failed to.
	writable interest = unix.EPOLLOUT | unix.EPOLLET
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
	s := &set{file: os.NewFile(uintptr(fd), "tunnels"), fd: uintptr(fd)}
	if s.raw, err = s.file.SyscallConn(); err != nil || s.file.SetReadDeadline(time.Time{}) != nil {
		s.file.Close()
		return nil
	}
	return s
}

// close ends wait. A nil set has nothing to close.
func (s *set) close() {
	if s == nil {
		return
	}
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.file.Close() // which waits for what wait is doing, and that may want the lock
}

// watch takes a connection into the set, or says anew what is wanted of one that
// stands there.
func (s *set) watch(c *side, key uint64, want interest) error {
	if c.listed {
		return s.change(c, key, want)
	}
	err := s.add(c, key, want)
	c.listed = err == nil
	return err
}

// add takes a connection into the set; events carry its key.
func (s *set) add(c *side, key uint64, want interest) (err error) {
	if outer := c.do(func(fd uintptr) { err = s.control(unix.EPOLL_CTL_ADD, fd, key, want) }); outer != nil {
		return outer
	}
	return err
}

// change says anew what is wanted of a connection. What is so already is told
// again (epoll looks when it is asked), so nothing is lost in between.
func (s *set) change(c *side, key uint64, want interest) (err error) {
	if outer := c.do(func(fd uintptr) { err = s.control(unix.EPOLL_CTL_MOD, fd, key, want) }); outer != nil {
		return outer
	}
	return err
}

// control changes the set. The caller sees to it that fd is not closed meanwhile, and
// its number given to something else.
func (s *set) control(op int, fd uintptr, key uint64, want interest) error {
	event := unix.EpollEvent{Events: uint32(want), Fd: int32(uint32(key)), Pad: int32(key >> 32)}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return os.ErrClosed
	}
	if errno := nowait.Control(s.fd, op, fd, &event); errno != 0 {
		return os.NewSyscallError("epoll_ctl", errno)
	}
	return nil
}

// keyOf reads back the key of an event.
func keyOf(e *unix.EpollEvent) uint64 { return uint64(uint32(e.Pad))<<32 | uint64(uint32(e.Fd)) }

// wait hands every lot of events to handle until the set is closed. It handles them
// where the poller would be told to wait again: what comes meanwhile is an edge that
// the poller keeps, so that nobody need look once more whether there is something.
func (s *set) wait(handle func([]unix.EpollEvent)) {
	events := make([]unix.EpollEvent, 256)
	s.raw.Read(func(fd uintptr) bool {
		for {
			n, errno := nowait.Events(fd, events)
			if errno != 0 {
				return true
			}
			if handle(events[:n]); n < len(events) {
				return false
			}
		}
	})
}
