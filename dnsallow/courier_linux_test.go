package dnsallow

import (
	"net"
	"net/netip"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nowait"
)

// A courier's socket serves many questions. For whoever wants to forge an answer
// each must be as good as one of its own (RFC 5452, section 9.2).
func TestACourierCarriesEachQuestionFromAPortOfItsOwn(t *testing.T) {
	for _, c := range []struct {
		family int
		addr   net.IP
	}{{syscall.AF_INET, net.IPv4(127, 0, 0, 1)}, {syscall.AF_INET6, net.IPv6loopback}} {
		up, err := net.ListenUDP("udp", &net.UDPAddr{IP: c.addr})
		if err != nil && c.family == syscall.AF_INET6 {
			t.Skip("this machine has no IPv6: ", err)
		}
		require.NoError(t, err)
		defer up.Close()
		courier, err := newCourier(c.family)
		require.NoError(t, err)
		defer courier.close()
		const questions = 32
		ports := map[uint16]bool{}
		for range questions {
			from := carried(t, courier, up)
			ports[from.Port()] = true
			// One answer, and what came twice or from a forger: all lie there.
			for _, text := range []string{"answer", "again", ""} {
				_, err := up.WriteToUDPAddrPort([]byte(text), from)
				require.NoError(t, err)
			}
			room := make([]byte, payload)
			_, n, err := courier.receive(room)
			require.NoError(t, err)
			require.Equal(t, "answer", string(room[:n]))
			require.True(t, courier.leavePort(), "this system gives ports back")
			local, errno := nowait.Name(courier.fd)
			require.Zero(t, errno)
			require.Zero(t, local.Port())
			_, err = up.WriteToUDPAddrPort([]byte("too late"), from)
			require.NoError(t, err)
		}
		require.GreaterOrEqual(t, len(ports), questions-3, "by chance a few of them may coincide")
		carried(t, courier, up)
		_, n, err := courier.receive(make([]byte, payload))
		require.NoError(t, err)
		require.Negative(t, n, "nothing lies in wait for a new question")
	}
}

// carried sends a question by courier, and gives back where it came from.
func carried(t *testing.T, c *courier, up *net.UDPConn) netip.AddrPort {
	t.Helper()
	require.NoError(t, c.send([]byte("question"), up.LocalAddr().(*net.UDPAddr).AddrPort()))
	buf := make([]byte, payload)
	n, from, err := up.ReadFromUDPAddrPort(buf)
	require.NoError(t, err)
	require.Equal(t, "question", string(buf[:n]))
	return from
}
