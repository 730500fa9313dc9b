package keeper

import (
	"golang.org/x/sys/unix"

	"gatehouse/internal/epoll"
)

// set is the epoll set of a keeper. Descriptors in it are watched edge-triggered: each
// news is told once.
type set struct{ *epoll.Set }

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
	s, err := epoll.New("tunnels")
	if err != nil {
		return nil
	}
	return &set{s}
}

// close ends the goroutine that waits. A nil set has nothing to close.
func (s *set) close() {
	if s != nil {
		s.Close()
	}
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
	if outer := c.do(func(fd uintptr) { err = s.Control(unix.EPOLL_CTL_ADD, fd, key, uint32(want)) }); outer != nil {
		return outer
	}
	return err
}

// change says anew what is wanted of a connection. What is so already is told
// again (epoll looks when it is asked), so nothing is lost in between.
func (s *set) change(c *side, key uint64, want interest) (err error) {
	if outer := c.do(func(fd uintptr) { err = s.Control(unix.EPOLL_CTL_MOD, fd, key, uint32(want)) }); outer != nil {
		return outer
	}
	return err
}
