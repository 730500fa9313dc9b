package keeper

import (
	"context"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"gatehouse/internal/nowait"
)

// Conn is a TCP connection that the keeper has opened for a tunnel: a bare descriptor
// that Go's poller never hears of, for the keeper's own set waits for it. It belongs
// to one goroutine, which closes it, joins it (JoinConn) or makes an ordinary
// connection of it (TCP).
type Conn struct {
	fd     uintptr
	listed bool // it stands in the set
	gone   bool // closed or given away
	keeper *Keeper
}

// mostSelves is how often an address is tried that turned out to be our own end.
const mostSelves = 3

// Dial connects to an address. It waits for at most within, and as long as ctx lasts:
// the error is os.ErrDeadlineExceeded, or the cause of ctx's end. Where the system has
// no set it is errors.ErrUnsupported.
func (k *Keeper) Dial(ctx context.Context, to netip.AddrPort, within time.Duration) (*Conn, error) {
	for range mostSelves {
		c, err := k.dial(ctx, to, within)
		if err != nil {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(to), Err: err}
		}
		if !c.leadsTo(to) {
			return c, nil
		}
		c.Close()
	}
	return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(to), Err: syscall.ECONNREFUSED}
}

// leadsTo reports whether our own end has the address that was dialled. Nobody need
// listen for that: where the kernel chooses the very port that is dialled, TCP connects
// a socket to itself (RFC 9293, section 3.5, simultaneous open). It chooses none below 1024.
func (c *Conn) leadsTo(to netip.AddrPort) bool {
	if to.Port() < 1024 {
		return false
	}
	own, err := nowait.Name(c.fd)
	return err == 0 && own == to
}

// dial is one attempt.
func (k *Keeper) dial(ctx context.Context, to netip.AddrPort, within time.Duration) (*Conn, error) {
	if k.theSet() == nil || to.Addr().Zone() != "" {
		return nil, unix.ENOTSUP // which is errors.ErrUnsupported
	}
	family := unix.AF_INET6
	if to.Addr().Is4() {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	c := &Conn{fd: uintptr(fd), keeper: k}
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // costs delay where it fails, and nothing else
	if errno := nowait.Connect(c.fd, to); errno != 0 && errno != unix.EINPROGRESS {
		c.Close()
		return nil, os.NewSyscallError("connect", errno)
	}
	if err := c.await(ctx, within); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// await waits until the connection is there, or has failed. What is near answers so
// soon that it is worth a look before anybody is put to sleep.
func (c *Conn) await(ctx context.Context, within time.Duration) error {
	look := []unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLOUT}}
	switch n, err := unix.Poll(look, 0); {
	case err != nil || n == 0:
	case look[0].Revents&(unix.POLLERR|unix.POLLHUP) == 0:
		return nil
	default:
		return c.outcome()
	}
	key, news := c.keeper.expect()
	defer c.keeper.dismiss(key)
	if err := c.keeper.set.Control(unix.EPOLL_CTL_ADD, c.fd, key, uint32(writable)); err != nil {
		return err
	}
	c.listed = true
	late := time.NewTimer(within)
	defer late.Stop()
	select {
	case <-news:
		return c.outcome()
	case <-late.C:
		return os.ErrDeadlineExceeded
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// outcome is why the connection has failed; nil: it is there.
func (c *Conn) outcome() error {
	errno, err := unix.GetsockoptInt(int(c.fd), unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		err = syscall.Errno(errno)
	}
	if err != nil {
		return os.NewSyscallError("connect", err)
	}
	return nil
}

// Close closes the connection, unless it has been given away.
func (c *Conn) Close() error {
	if !c.gone {
		c.gone = true
		nowait.Close(c.fd)
	}
	return nil
}

// TCP makes an ordinary connection of it, for whoever wants to read and write it: the
// Conn is given away. Where that fails it is closed.
func (c *Conn) TCP() (*net.TCPConn, error) {
	if c.gone {
		return nil, net.ErrClosed
	}
	c.gone = true
	if c.listed {
		c.keeper.set.Control(unix.EPOLL_CTL_DEL, c.fd, 0, 0)
	}
	file := os.NewFile(c.fd, "origin")
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// JoinConn is Join, for an origin that Dial has reached.
func (k *Keeper) JoinConn(client net.Conn, origin *Conn, done func(Result)) *Tunnel {
	t := k.Join(client, nil, done)
	t.origin, t.dialled = side{fd: origin.fd, bare: true, listed: origin.listed}, true
	origin.gone = true
	return t
}

// expect makes a key for a connection that is being opened. News of it closes the
// channel; dismiss ends that.
func (k *Keeper) expect() (key uint64, news chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.last++
	news = make(chan struct{})
	k.expected[k.last] = news
	return k.last << 1, news
}

func (k *Keeper) dismiss(key uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.expected, key>>1)
}

// tell passes on news of a connection that is being opened, once.
func (k *Keeper) tell(key uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if news := k.expected[key>>1]; news != nil {
		close(news)
		delete(k.expected, key>>1)
	}
}
