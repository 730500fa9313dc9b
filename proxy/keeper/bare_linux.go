package keeper

import (
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"gatehouse/internal/nowait"
)

// A side that is bare is guarded by the tunnel's lock: its descriptor is used while the
// tunnel is not over, and closed when it is.

// do makes system calls on the side's descriptor, which cannot be closed meanwhile.
// The tunnel's lock is held.
func (s *side) do(call func(fd uintptr)) error {
	if s.bare {
		call(s.fd)
		return nil
	}
	return s.raw.Control(call)
}

func (s *side) closeWriteBare() { nowait.CloseWrite(s.fd) }

func (s *side) closeBare() { nowait.Close(s.fd) }

func (s *side) resetBare() {
	unix.SetsockoptLinger(int(s.fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	nowait.Close(s.fd)
}

// keepAlive has the peer asked now and then whether it is there.
func (s *side) keepAlive() { s.do(func(fd uintptr) { nowait.KeepAlive(fd) }) }

// dress makes an ordinary connection of a bare origin, for a goroutine that is to wait
// for it. That does not fail for want of a descriptor, or a stream would end because
// others came: where package net cannot have the connection, it stays a file. t.mu is
// held. It reports whether the set did not take the connection back.
func (t *Tunnel) dress() (lost bool) {
	s := &t.origin
	if !s.bare {
		return false
	}
	if s.listed { // closing the number does not take it out of the set while the connection has another
		t.keeper.set.Control(unix.EPOLL_CTL_DEL, s.fd, 0, 0)
	}
	file := os.NewFile(s.fd, "origin")
	if conn, err := net.FileConn(file); err == nil {
		file.Close()
		s.conn = conn
		s.raw, _ = conn.(*net.TCPConn).SyscallConn() // fails for a nil connection alone
	} else {
		s.raw, _ = file.SyscallConn()
		s.conn = socket{file, s.raw}
	}
	s.bare = false
	if s.listed {
		s.listed = false
		lost = t.keeper.set.watch(s, t.down.key(), everything) != nil
	}
	return lost
}

// socket is a TCP connection of which package os has the descriptor, and package net
// knows nothing. It moves bulk by copying.
type socket struct {
	*os.File
	raw syscall.RawConn
}

var _ net.Conn = socket{}

func (s socket) LocalAddr() net.Addr  { return &net.TCPAddr{} }
func (s socket) RemoteAddr() net.Addr { return &net.TCPAddr{} }

// CloseWrite is as in net.TCPConn.
func (s socket) CloseWrite() error {
	var errno syscall.Errno
	if err := s.raw.Control(func(fd uintptr) { errno = nowait.CloseWrite(fd) }); err != nil {
		return err
	}
	return os.NewSyscallError("shutdown", errnoOrNil(errno))
}

// SetLinger is as in net.TCPConn.
func (s socket) SetLinger(seconds int) error {
	linger := unix.Linger{Onoff: 1, Linger: int32(seconds)}
	var err error
	if outer := s.raw.Control(func(fd uintptr) {
		err = unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &linger)
	}); outer != nil {
		return outer
	}
	return os.NewSyscallError("setsockopt", err)
}

func errnoOrNil(errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}
