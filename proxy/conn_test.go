package proxy

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
	"gatehouse/internal/nowait"
)

// A peer of TLS that takes nothing holds nobody who closes the connection: the sweeper
// does so with the pool locked, and Shutdown one after another.
func TestAPeerThatTakesNothingIsLeftWithoutAWord(t *testing.T) {
	secure, peer := veiledPair(t)
	raw, err := tcpOf(secure).SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Write(func(fd uintptr) bool {
		for piece := make([]byte, bufferSize); ; {
			if _, errno := nowait.Write(fd, piece); errno == syscall.EAGAIN {
				return true
			}
		}
	}))
	err = closeAtOnce(secure)
	require.False(t, errors.Is(err, os.ErrDeadlineExceeded), "it waited for the peer")
	require.ErrorIs(t, err, net.ErrClosed)
	peer.Close()
}

func TestAPeerThatListensIsToldOfTheEnd(t *testing.T) {
	secure, peer := veiledPair(t)
	require.NoError(t, closeAtOnce(secure))
	_, err := peer.Read(make([]byte, 1))
	require.Equal(t, io.EOF, err, "the alert did not come")
	peer.Close()
}

// veiledPair is a connection of TLS as its server has it, with nothing unread, and the
// client's end of it.
func veiledPair(t *testing.T) (near, far *tls.Conn) {
	authority := nettest.NewAuthority(t, "pair")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	server, err := ln.Accept()
	require.NoError(t, err)
	far = tls.Client(client, &tls.Config{ServerName: www, RootCAs: authority.Roots})
	near = tls.Server(server, &tls.Config{Certificates: []tls.Certificate{authority.Sign(t, nil, www)}})
	t.Cleanup(func() { client.Close(); server.Close() })
	shaken := make(chan error, 1)
	go func() { shaken <- far.Handshake() }()
	require.NoError(t, near.Handshake())
	require.NoError(t, <-shaken)
	return near, far
}
