package epoll

import (
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"gatehouse/internal/nowait"
)

// Set is an epoll set that stands in Go's own poller, which waits for it as it does
// for a socket.
type Set struct {
	file *os.File
	raw  syscall.RawConn
	fd   uintptr

	mu     sync.RWMutex // held while the set is changed
	closed bool
}

// lot is how many events are handed on at a time.
const lot = 256

// New makes a set; name is for errors. Whoever asks for it closes it.
func New(name string) (*Set, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // only then NewFile asks the poller
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	s := &Set{file: os.NewFile(uintptr(fd), name), fd: uintptr(fd)}
	if s.raw, err = s.file.SyscallConn(); err == nil {
		err = s.SetDeadline(time.Time{}) // fails where the poller did not take it
	}
	if err != nil {
		s.file.Close()
		return nil, err
	}
	return s, nil
}

// Close ends Wait, once what it is handing on has been handled.
func (s *Set) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	return s.file.Close() // not under the lock, which what is being handled may want
}

// Control is epoll_ctl(2); the events of fd will carry key. The caller sees to it that
// fd is not closed meanwhile, and its number given to something else. In a set that has
// been closed it is os.ErrClosed.
func (s *Set) Control(op int, fd uintptr, key uint64, events uint32) error {
	event := unix.EpollEvent{Events: events, Fd: int32(uint32(key)), Pad: int32(key >> 32)}
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

// Key is what Control was given for the descriptor of an event.
func Key(e *unix.EpollEvent) uint64 { return uint64(uint32(e.Pad))<<32 | uint64(uint32(e.Fd)) }

// SetDeadline has Wait return at a moment; the zero moment never comes.
func (s *Set) SetDeadline(at time.Time) error { return s.file.SetReadDeadline(at) }

// Wait hands every lot of events to handle, until the deadline, with
// os.ErrDeadlineExceeded, or until the set is closed, with another error. One goroutine
// at a time may wait.
//
// It handles them where the poller would be told to wait again: what comes meanwhile
// is an edge that the poller keeps, so that nobody need look once more whether there is
// something. handle says whether it has left something, which epoll will tell again of
// a descriptor that is not edge-triggered: then the set is asked before it is waited
// for.
func (s *Set) Wait(handle func([]unix.EpollEvent) (left bool)) error {
	events := make([]unix.EpollEvent, lot)
	var failed syscall.Errno
	turn := func(fd uintptr) (done bool) {
		n, errno := nowait.Events(fd, events)
		if errno != 0 || n == 0 {
			failed = errno
			return errno != 0
		}
		left := handle(events[:n])
		return left || n == len(events)
	}
	for {
		if err := s.raw.Read(turn); err != nil {
			return err
		}
		if failed != 0 {
			return os.NewSyscallError("epoll_pwait", failed)
		}
	}
}
