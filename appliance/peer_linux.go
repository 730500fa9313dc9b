package appliance

import (
	"context"
	"fmt"
	"net"
	"os/user"
	"strconv"
	"syscall"

	"gatehouse/appliance/console"
)

// withPeer notes which user of this machine speaks through a unix socket.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	socket, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return ctx
	}
	var peer *syscall.Ucred
	if raw.Control(func(fd uintptr) {
		peer, err = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}) != nil || err != nil {
		return ctx
	}
	return console.WithAsker(ctx, localUser(int(peer.Uid)))
}

// localUser is a user of this machine, for the audit trail.
func localUser(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return fmt.Sprintf("%s (uid %d) on this machine", u.Username, uid)
	}
	return fmt.Sprintf("uid %d on this machine", uid)
}
