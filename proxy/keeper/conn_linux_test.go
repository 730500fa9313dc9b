package keeper

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gatehouse/internal/nettest"
	"gatehouse/internal/nowait"
)

func addressOf(ln net.Listener) netip.AddrPort { return ln.Addr().(*net.TCPAddr).AddrPort() }

func TestDialFindsNobody(t *testing.T) {
	k := newKeeper(t, 0)
	ln := loopback(t)
	ln.Close()
	_, err := k.Dial(t.Context(), addressOf(ln), nettest.Patience)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	require.Contains(t, err.Error(), addressOf(ln).String())
}

func TestDialBySixthVersion(t *testing.T) {
	ln, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 here:", err)
	}
	defer ln.Close()
	k := newKeeper(t, 0)
	c, err := k.Dial(t.Context(), addressOf(ln), nettest.Patience)
	require.NoError(t, err)
	require.NoError(t, c.Close())
	accepted, err := ln.Accept()
	require.NoError(t, err)
	nettest.NewPeer(t, accepted).Ended()
}

// A zone is for package net, which knows the interfaces by their names.
func TestDialLeavesZonesToOthers(t *testing.T) {
	_, err := newKeeper(t, 0).Dial(t.Context(), netip.MustParseAddrPort("[fe80::1%lo]:80"), nettest.Patience)
	require.ErrorIs(t, err, errors.ErrUnsupported)
}

// crowded is a listener that takes no connection more until one is accepted.
func crowded(t *testing.T) (at netip.AddrPort, accept func()) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	require.NoError(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	require.NoError(t, unix.Listen(fd, 0))
	at, errno := nowait.Name(uintptr(fd))
	require.Zero(t, errno)
	first, err := net.Dial("tcp", at.String()) // for which there is room
	require.NoError(t, err)
	t.Cleanup(func() { first.Close() })
	return at, func() {
		taken, _, err := unix.Accept(fd)
		require.NoError(t, err)
		t.Cleanup(func() { unix.Close(taken) })
	}
}

// pending waits until a Dial does.
func (k *Keeper) pending(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		return len(k.expected) > 0
	}, nettest.Patience, time.Millisecond)
}

func TestDialWaits(t *testing.T) {
	type outcome struct {
		conn *Conn
		err  error
	}
	dial := func(ctx context.Context, k *Keeper, at netip.AddrPort, within time.Duration) chan outcome {
		out := make(chan outcome, 1)
		go func() {
			c, err := k.Dial(ctx, at, within)
			out <- outcome{c, err}
		}()
		return out
	}
	t.Run("until it is let in", func(t *testing.T) {
		k := newKeeper(t, 0)
		at, accept := crowded(t)
		out := dial(t.Context(), k, at, nettest.Patience)
		k.pending(t)
		accept()
		o := <-out
		require.NoError(t, o.err)
		require.Empty(t, k.expected)
		conn, err := o.conn.TCP()
		require.NoError(t, err)
		require.Equal(t, at.String(), conn.RemoteAddr().String())
		conn.Close()
	})
	t.Run("for as long as it is told", func(t *testing.T) {
		k := newKeeper(t, 0)
		at, _ := crowded(t)
		_, err := k.Dial(t.Context(), at, time.Millisecond)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Empty(t, k.expected)
	})
	t.Run("until nobody wants it any more", func(t *testing.T) {
		k := newKeeper(t, 0)
		at, _ := crowded(t)
		enough := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		out := dial(ctx, k, at, nettest.Patience)
		k.pending(t)
		cancel(enough)
		require.ErrorIs(t, (<-out).err, enough)
	})
}

// TCP connects a socket to itself where both ends are the same.
func TestASocketThatLeadsToItselfIsSeen(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	c := &Conn{fd: uintptr(fd)}
	defer c.Close()
	require.NoError(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	at, errno := nowait.Name(c.fd)
	require.Zero(t, errno)
	require.Zero(t, nowait.Connect(c.fd, at))
	require.True(t, c.leadsTo(at))
	require.False(t, c.leadsTo(netip.AddrPortFrom(at.Addr(), at.Port()-1)))
}

func TestAConnThatIsGivenAwayIsNotClosed(t *testing.T) {
	k := newKeeper(t, 0)
	ln := loopback(t)
	c, err := k.Dial(t.Context(), addressOf(ln), nettest.Patience)
	require.NoError(t, err)
	conn, err := c.TCP()
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, c.Close())
	_, err = c.TCP()
	require.ErrorIs(t, err, net.ErrClosed)
	accepted, err := ln.Accept()
	require.NoError(t, err)
	_, err = conn.Write([]byte("alive"))
	require.NoError(t, err)
	nettest.NewPeer(t, accepted).Expect("alive")
}

// Bulk asks for a descriptor more; where there is none it passes all the same, both
// ways, and its end too.
func TestBulkPassesWithoutADescriptorToSpare(t *testing.T) {
	w := way{dials: true}
	e := w.open(t, "")
	e.client.Say("x")
	e.origin.Expect("x")
	var limit unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1, Max: limit.Max}))
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	sent, received := fill(t, e.client), fill(t, e.origin)
	_, err := io.CopyN(io.Discard, e.origin.In, sent)
	require.NoError(t, err)
	_, err = io.CopyN(io.Discard, e.client.In, received)
	require.NoError(t, err)
	e.tunnel.mu.Lock()
	require.IsType(t, socket{}, e.tunnel.origin.conn)
	e.tunnel.mu.Unlock()
	e.client.CloseWrite()
	require.Empty(t, whole(t, e.origin))
	e.origin.Reset()
	broken(t, e.client)
	require.Equal(t, Result{Sent: sent + 1, Received: received, End: ClientClosed, Reset: true}, e.result())
}

// What lives for longer than a moment is asked whether it is there.
func TestAnOriginThatStaysIsKeptAlive(t *testing.T) {
	w := way{dials: true}
	e := w.open(t, "early")
	e.origin.Expect("early")
	alive := func() int {
		e.tunnel.mu.Lock()
		defer e.tunnel.mu.Unlock()
		on, err := unix.GetsockoptInt(int(e.tunnel.origin.fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE)
		require.NoError(t, err)
		return on
	}
	require.Zero(t, alive())
	e.keeper.sweep(e.keeper.now())
	require.Equal(t, 1, alive())
}
