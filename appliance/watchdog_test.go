//go:build linux

package appliance

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAKnockAtEveryDoorIsAttendedToAndIsNoPassage(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	require.NoError(t, s.serves(context.Background(), 30*time.Second))
	status, _ := s.get("/update.inf")
	require.Equal(t, 200, status)
	require.NoError(t, s.stop())
	require.Equal(t, 1, strings.Count(s.log.String(), "\n"), "only the request is written down: %s", s.log)
}

func TestADoorThatNobodyAttendsToIsNoticed(t *testing.T) {
	t.Parallel()
	listen := func() net.Listener {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		t.Cleanup(func() { ln.Close() })
		return ln
	}
	attended, left := listen(), listen()
	go func() {
		for {
			conn, err := attended.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	for name, doors := range map[string]listeners{
		"the proxy hangs":          {proxy: []net.Listener{left}, admin: attended},
		"the DNS filter hangs":     {dnsTCP: []net.Listener{left}, admin: attended},
		"the admin listener hangs": {admin: left},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := (&Appliance{doors: &doors}).serves(context.Background(), 2*time.Second)
			var late interface{ Timeout() bool }
			require.ErrorAs(t, err, &late)
			require.True(t, late.Timeout(), "the kernel shakes hands, nobody reads: %v", err)
			require.ErrorContains(t, err, left.Addr().String())
		})
	}
	require.NoError(t, (&Appliance{doors: &listeners{admin: attended}}).serves(context.Background(), 30*time.Second))
}

// Not parallel: systemd speaks through the environment.
func TestSystemdIsToldThatTheGateServes(t *testing.T) {
	socket := filepath.Join(shortDir(t), "notify")
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	require.NoError(t, err)
	defer systemd.Close()
	require.NoError(t, systemd.SetReadDeadline(time.Now().Add(30*time.Second)))
	hears := func() string {
		message := make([]byte, 100)
		n, err := systemd.Read(message)
		require.NoError(t, err)
		return string(message[:n])
	}
	t.Setenv("NOTIFY_SOCKET", socket)
	t.Setenv("WATCHDOG_USEC", "3000000")
	s := newSite(t, rulesText)
	require.Equal(t, "READY=1", hears())
	require.Equal(t, "WATCHDOG=1", hears())
	require.NoError(t, s.stop())
	last := hears()
	for last == "WATCHDOG=1" {
		last = hears()
	}
	require.Equal(t, "STOPPING=1", last)
}
