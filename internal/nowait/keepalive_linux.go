package nowait

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// KeepAlive has the peer of a TCP socket that has been silent for 15 seconds asked
// every 15 seconds whether it is there, and given up after 9 times: as package net does
// (net.KeepAliveConfig). Connections that a listener accepts inherit it (tcp(7)).
func KeepAlive(fd uintptr) syscall.Errno {
	for _, o := range [][3]int{
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 15},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 15},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 9},
	} {
		if err := unix.SetsockoptInt(int(fd), o[0], o[1], o[2]); err != nil {
			return err.(syscall.Errno)
		}
	}
	return 0
}
