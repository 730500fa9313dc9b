package appliance

import (
	"net"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestACrowdAtAListenerIsKeptWithinBounds(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	var refused atomic.Uint64
	c := newCrowd(ln, &refused)
	c.most, c.each = 3, 2
	from := func(client string) net.Conn {
		conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(client)}}).Dial("tcp", ln.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	closed := func(conn net.Conn) { // by the other side
		_, err := conn.Read(make([]byte, 1))
		require.Error(t, err)
	}
	accept := func() net.Conn {
		conn, err := c.Accept()
		require.NoError(t, err)
		return conn
	}
	from("127.0.0.2")
	first := accept()
	from("127.0.0.2")
	accept()
	third := from("127.0.0.2") // it has two
	from("127.0.0.3")
	other := accept()
	closed(third)
	next := make(chan net.Conn, 1)
	go func() {
		conn, _ := c.Accept()
		next <- conn
	}()
	closed(from("127.0.0.4")) // all have three
	require.NoError(t, other.Close())
	require.NoError(t, first.Close())
	require.Error(t, first.Close(), "it has left once")
	from("127.0.0.2")
	require.NotNil(t, <-next)
	require.Equal(t, uint64(2), refused.Load())
	c.mu.Lock()
	defer c.mu.Unlock()
	require.Equal(t, 2, c.all)
	require.Len(t, c.open, 1, "who has none open is forgotten")
}
