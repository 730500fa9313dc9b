//go:build linux

package appliance

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// systemd holds sockets open as systemd does, and gives copies of them.
type systemd struct {
	tcp *net.TCPListener
	udp *net.UDPConn
}

func newSystemd(t *testing.T) *systemd {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.81:0") // no other test's address: UDP is free, too
	require.NoError(t, err)
	t.Cleanup(func() { ln.Close() })
	pc, err := net.ListenPacket("udp", ln.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { pc.Close() })
	return &systemd{ln.(*net.TCPListener), pc.(*net.UDPConn)}
}

func (s *systemd) hands(t *testing.T) []*os.File {
	t.Helper()
	tcp, err := s.tcp.File()
	require.NoError(t, err)
	udp, err := s.udp.File()
	require.NoError(t, err)
	return []*os.File{tcp, udp}
}

func TestSocketsThatAreOpenAlreadyAreTakenAndOutliveTheGate(t *testing.T) {
	held := newSystemd(t)
	at := held.tcp.Addr().String()
	for range 2 { // one gate after the other
		given, err := inherit(held.hands(t))
		require.NoError(t, err)
		l, err := openListeners(ListenConfig{DNS: []Address{address(at)}, Admin: address("127.0.0.1:0")}, given)
		require.NoError(t, err)
		require.Equal(t, at, l.dnsTCP[0].Addr().String())
		require.Equal(t, at, l.dnsUDP[0].LocalAddr().String())

		client, err := net.Dial("tcp", at)
		require.NoError(t, err)
		in, err := l.dnsTCP[0].Accept()
		require.NoError(t, err)
		require.Equal(t, client.LocalAddr(), in.RemoteAddr())
		in.Close()
		client.Close()
		l.close()

		waits, err := net.Dial("tcp", at) // between two gates: it waits, and is not refused
		require.NoError(t, err)
		_, err = waits.Write([]byte("a question"))
		require.NoError(t, err)
		in, err = held.tcp.Accept()
		require.NoError(t, err)
		in.Close()
		waits.Close()
	}
}

func TestASocketThatNobodyWantsIsNamed(t *testing.T) {
	held := newSystemd(t)
	given, err := inherit(held.hands(t))
	require.NoError(t, err)
	at := held.tcp.Addr().String()
	_, err = openListeners(ListenConfig{Proxy: []Address{address(at)}, Admin: address("127.0.0.1:0")}, given)
	require.EqualError(t, err, "systemd's socket unit listens on "+at+" (UDP), which no listen key of gatehouse.toml names; name it there, or take it out of the unit")
}

func TestASocketOfAnotherKindIsRefused(t *testing.T) {
	ln, err := net.Listen("unix", filepath.Join(shortDir(t), "s"))
	require.NoError(t, err)
	defer ln.Close()
	f, err := ln.(*net.UnixListener).File()
	require.NoError(t, err)
	_, err = inherit([]*os.File{f})
	require.ErrorContains(t, err, "which is no TCP address; take it out of the socket unit")
	require.Error(t, f.Close(), "it was taken over, and closed")

	plain, err := os.Open(os.DevNull)
	require.NoError(t, err)
	_, err = inherit([]*os.File{plain})
	require.ErrorContains(t, err, "neither TCP that listens nor UDP")
}
