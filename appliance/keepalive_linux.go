package appliance

import (
	"os"
	"syscall"

	"gatehouse/internal/nowait"
)

// keepAliveInherited: what is set on a listener is set on all that it accepts
// (tcp(7)), so that nobody need set it four times for each.
const keepAliveInherited = true

// keepAlive is for net.ListenConfig: it has silent peers asked whether they are there.
func keepAlive(_, _ string, c syscall.RawConn) error {
	var errno syscall.Errno
	if err := c.Control(func(fd uintptr) { errno = nowait.KeepAlive(fd) }); err != nil {
		return err
	}
	if errno != 0 {
		return os.NewSyscallError("setsockopt", errno)
	}
	return nil
}
