package nowait

import (
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Connect connects a non-blocking socket of the family of to. EINPROGRESS says that it
// has begun, as with TCP it does.
func Connect(fd uintptr, to netip.AddrPort) syscall.Errno {
	if to.Addr().Is4() {
		sa := unix.RawSockaddrInet4{Family: unix.AF_INET, Port: netOrder(to.Port()), Addr: to.Addr().As4()}
		return connect(fd, unsafe.Pointer(&sa), unix.SizeofSockaddrInet4)
	}
	sa := unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: netOrder(to.Port()), Addr: to.Addr().As16()}
	return connect(fd, unsafe.Pointer(&sa), unix.SizeofSockaddrInet6)
}

// Disconnect leaves a UDP socket connected to nobody, and without the port that the
// kernel chose for it (connect(2), AF_UNSPEC).
func Disconnect(fd uintptr) syscall.Errno {
	nobody := unix.RawSockaddrInet4{Family: unix.AF_UNSPEC}
	return connect(fd, unsafe.Pointer(&nobody), unix.SizeofSockaddrInet4)
}

func connect(fd uintptr, sa unsafe.Pointer, size uintptr) syscall.Errno {
	_, _, errno := syscall.RawSyscall(unix.SYS_CONNECT, fd, uintptr(sa), size)
	if errno == unix.EINTR { // it goes on all the same (connect(2))
		return unix.EINPROGRESS
	}
	return errno
}

// netOrder is a port as it stands in memory in a socket address.
func netOrder(port uint16) (stored uint16) {
	b := (*[2]byte)(unsafe.Pointer(&stored))
	b[0], b[1] = byte(port>>8), byte(port)
	return stored
}

// Name is the socket's own address.
func Name(fd uintptr) (netip.AddrPort, syscall.Errno) {
	var sa unix.RawSockaddrInet6 // large enough for both
	size := uint32(unix.SizeofSockaddrInet6)
	_, _, errno := syscall.RawSyscall(unix.SYS_GETSOCKNAME, fd, uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)))
	port := (*[2]byte)(unsafe.Pointer(&sa.Port))
	at := uint16(port[0])<<8 | uint16(port[1])
	switch {
	case errno != 0:
		return netip.AddrPort{}, errno
	case sa.Family == unix.AF_INET:
		four := (*unix.RawSockaddrInet4)(unsafe.Pointer(&sa))
		return netip.AddrPortFrom(netip.AddrFrom4(four.Addr), at), 0
	}
	return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), at), 0
}

// CloseWrite says to the peer of a TCP socket that nothing more will come.
func CloseWrite(fd uintptr) syscall.Errno {
	_, _, errno := syscall.RawSyscall(unix.SYS_SHUTDOWN, fd, unix.SHUT_WR, 0)
	return errno
}

// Close closes a socket that does not linger; whatever it answers, the descriptor is
// gone (close(2)).
func Close(fd uintptr) { syscall.RawSyscall(unix.SYS_CLOSE, fd, 0, 0) }

// Control is epoll_ctl(2).
func Control(set uintptr, op int, fd uintptr, event *unix.EpollEvent) syscall.Errno {
	_, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_CTL, set, uintptr(op), fd, uintptr(unsafe.Pointer(event)), 0, 0)
	return errno
}

// Events takes what epoll has to tell, without waiting.
func Events(set uintptr, events []unix.EpollEvent) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, set, uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), 0, 0, 0)
		switch errno {
		case 0:
			return int(n), 0
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}
