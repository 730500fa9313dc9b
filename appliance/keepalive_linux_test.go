package appliance

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestWhoIsAcceptedIsAskedWhetherHeIsStillThere(t *testing.T) {
	ln, err := listenTCP("127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	far, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	defer far.Close()
	near, err := ln.Accept()
	require.NoError(t, err)
	defer near.Close()
	raw, err := near.(*net.TCPConn).SyscallConn()
	require.NoError(t, err)
	want := map[[2]int]int{
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE}:   1,
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE}:  15,
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL}: 15,
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT}:   9,
	}
	got := map[[2]int]int{}
	require.NoError(t, raw.Control(func(fd uintptr) {
		for o := range want {
			got[o], err = unix.GetsockoptInt(int(fd), o[0], o[1])
			require.NoError(t, err)
		}
	}))
	require.Equal(t, want, got)
}

// The kernel does not tell where a connection of Multipath TCP was redirected from.
func TestWhoSpeaksMultipathTCPIsAnsweredInPlainTCP(t *testing.T) {
	ln, err := listenTCP("127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	var several net.Dialer
	several.SetMultipathTCP(true)
	far, err := several.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	defer far.Close()
	near, err := ln.Accept()
	require.NoError(t, err)
	defer near.Close()
	multipath, err := near.(*net.TCPConn).MultipathTCP()
	require.NoError(t, err)
	require.False(t, multipath)
}
