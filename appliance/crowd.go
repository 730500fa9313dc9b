package appliance

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

// How many connections a listener of the appliance's own takes (admin, metrics, PAC),
// so that whoever holds them open, before any login, leaves the gate the descriptors
// that it needs.
const (
	mostGuests          = 512
	mostGuestsPerClient = 128
)

// crowd is a listener that takes no more connections than it may, of one client and in
// all: what is beyond is closed at once, and counted. The zero crowd is not usable;
// newCrowd makes one.
type crowd struct {
	net.Listener
	most, each int
	refused    *atomic.Uint64

	mu   sync.Mutex
	open map[netip.Addr]int // connections of each client
	all  int
}

func newCrowd(ln net.Listener, refused *atomic.Uint64) *crowd {
	return &crowd{Listener: ln, most: mostGuests, each: mostGuestsPerClient, refused: refused, open: map[netip.Addr]int{}}
}

// Accept implements net.Listener.
func (c *crowd) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		var client netip.Addr
		if at, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
			client = at.AddrPort().Addr().Unmap().WithZone("")
		}
		if c.enter(client) {
			return &guestConn{Conn: conn, leave: sync.OnceFunc(func() { c.leave(client) })}, nil
		}
		c.refused.Add(1)
		conn.Close()
	}
}

func (c *crowd) enter(client netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all >= c.most || c.open[client] >= c.each {
		return false
	}
	c.all++
	c.open[client]++
	return true
}

func (c *crowd) leave(client netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all--
	if c.open[client]--; c.open[client] == 0 {
		delete(c.open, client)
	}
}

// guestConn is a connection that counts until it is closed.
type guestConn struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (c *guestConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
