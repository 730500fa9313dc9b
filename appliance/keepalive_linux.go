package appliance

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// keepAliveInherited: what is set on a listener is set on all that it accepts
// (tcp(7)), so that nobody need set it four times for each.
const keepAliveInherited = true

// keepAlive asks a peer that has been silent for 15 seconds every 15 seconds whether
// it is there, and gives it up after 9 times: as package net does (KeepAliveConfig).
func keepAlive(_, _ string, c syscall.RawConn) error {
	var err error
	outer := c.Control(func(fd uintptr) {
		for _, o := range [][3]int{
			{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
			{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 15},
			{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 15},
			{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 9},
		} {
			if err == nil {
				err = unix.SetsockoptInt(int(fd), o[0], o[1], o[2])
			}
		}
	})
	if outer != nil {
		return outer
	}
	return err
}
