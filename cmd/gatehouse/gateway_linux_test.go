package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
)

const landBus = `
[[allow]]
name    = "bus"
clients = "lan"
hosts   = "bus.example.org"
ports   = [80, 443, 5671, 5672, "9350-9354"]
`

const landPins = `
[[allow]]
name     = "pins"
clients  = "lan"
hosts    = "pins.example.org"
ports    = [80, 443, 5671, 5672, "9350-9354"]
protocol = "tcp"
via      = "forward"
`

// landMIS is a school's other network: listed by address, so nobody asks for a name.
const landMIS = `
[[allow]]
name      = "mis-sql"
clients   = "lan"
hosts     = ["10.77.0.20", "fd77::20"]
ports     = 1433
addresses = "private"
via       = "forward"
[[allow]]
name      = "mis-sql-browser"
clients   = "lan"
hosts     = ["10.77.0.20", "fd77::20"]
ports     = 1434
protocol  = "udp"
addresses = "private"
via       = "forward"
`

// The ports of Service Bus, by what they carry. On 5672 and 9350 to 9354 no name is
// said: the gate goes by what the filter answered.
var (
	busTLS = []string{"443", "5671"}
	busTCP = []string{"5672", "9350", "9351", "9352", "9353", "9354"}
)

const (
	amqp = "AMQP\x00\x01\x00\x00"
	get  = "GET / HTTP/1.1\r\nHost: bus.example.org\r\n\r\n"
)

// clientHello is one as crypto/tls writes it.
func clientHello(t *testing.T, name string) string {
	near, far := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		tls.Client(near, &tls.Config{ServerName: name}).Handshake()
	}()
	head := make([]byte, 5)
	_, err := io.ReadFull(far, head)
	require.NoError(t, err)
	body := make([]byte, int(head[3])<<8|int(head[4]))
	_, err = io.ReadFull(far, body)
	require.NoError(t, err)
	far.Close()
	<-done
	return string(head) + string(body)
}

func TestGatewayInThePath(t *testing.T) {
	l := newLand(t, landBus+landPins+landMIS)
	l.Origin.Echo(append(append([]string{"80", "9355", "1433"}, busTLS...), busTCP...)...)
	for _, addr := range []string{nettest.MIS, nettest.MIS6} {
		l.Origin.EchoUDP(net.JoinHostPort(addr, "1434"))
	}
	l.nft("'add table inet foreign; add chain inet foreign c'")
	l.start()
	hello := clientHello(t, "bus.example.org")
	both := func(four, six string) []string { return []string{four, six} }

	t.Run("a client that ignores the filter is reset", func(t *testing.T) {
		for _, addr := range append(both(busAddr, busAddr6), pinAddr, pinAddr6, elseAddr, elseAddr6) {
			l.isReset(addr, "9352", "x")
		}
	})
	t.Run("every port of Service Bus through redirect", func(t *testing.T) {
		l.ask("bus.example.org")
		for _, addr := range both(busAddr, busAddr6) {
			for _, port := range busTCP {
				l.reaches(addr, port, amqp)
			}
			for _, port := range busTLS {
				l.reaches(addr, port, hello)
			}
			_, err := l.exchange(addr, "80", get, "HTTP/1.1 200 OK\r\n")
			require.NoError(t, err, "%s\n%s", addr, l.said)
		}
	})
	t.Run("a permitted name towards an address that was never judged for it is reset", func(t *testing.T) {
		for _, addr := range both(elseAddr, elseAddr6) {
			l.isReset(addr, "443", hello)
			l.isReset(addr, "5671", hello)
			l.isReset(addr, "80", get)
		}
		require.True(t, comesTrue(func() bool { return strings.Count(l.book(), `"reason":"address-not-allowed"`) == 6 }), "%s", l.book())
	})
	var flows []net.Conn
	t.Run("every port of Service Bus through pins", func(t *testing.T) {
		l.ask("pins.example.org")
		for _, addr := range both(pinAddr, pinAddr6) {
			for _, port := range append(append([]string{}, busTLS...), busTCP...) {
				flows = append(flows, l.reaches(addr, port, amqp))
			}
			_, err := l.exchange(addr, "80", get, "HTTP/1.1 200 OK\r\n")
			require.NoError(t, err)
			l.isReset(addr, "9355", "x")
		}
		for _, addr := range both(elseAddr, elseAddr6) {
			l.isReset(addr, "9352", "x")
		}
	})
	t.Run("the MIS on another network, over TCP and UDP, without a name", func(t *testing.T) {
		for _, addr := range both(nettest.MIS, nettest.MIS6) {
			l.reaches(addr, "1433", "x")
			l.pings(addr, "1434")
			l.isReset(addr, "9352", "x")
		}
	})
	t.Run("a ruleset that somebody else flushes is put back, with its pins", func(t *testing.T) {
		foreign := l.nft("list table inet foreign")
		l.nft("flush ruleset")
		require.True(t, comesTrue(func() bool { return strings.Contains(l.nft("list tables"), "inet gatehouse") }), "the table is put back")
		require.Contains(t, l.nft("list table inet gatehouse"), pinAddr)
		l.isReset(elseAddr, "9352", "x")
		l.reaches(pinAddr, "9352", "x")
		l.write("foreign.nft", foreign)
		l.nft("-f " + filepath.Join(l.dir, "foreign.nft"))
	})
	t.Run("a reload that takes the permission away closes the pins and cuts their flows", func(t *testing.T) {
		l.reload(landBus)
		for _, flow := range flows {
			flow.SetDeadline(time.Now().Add(nettest.Patience))
			require.True(t, isNo(sayAndHear(flow, "x", "x")), "%s", flow.RemoteAddr())
		}
		for _, addr := range both(pinAddr, pinAddr6) {
			l.isReset(addr, "9352", "x")
		}
		l.reaches(busAddr, "9352", "x")
	})
	t.Run("applied twice is applied once", func(t *testing.T) {
		before := l.nft("--stateless list table inet gatehouse")
		l.end(syscall.SIGTERM)
		require.Equal(t, before, l.nft("--stateless list table inet gatehouse"), "it stays when gatehouse ends in good order")
		for range 2 {
			l.start()
			require.Equal(t, before, l.nft("--stateless list table inet gatehouse"))
			l.end(syscall.SIGTERM)
		}
		text := filepath.Join(l.dir, "once.nft")
		l.Gate.Sh(fmt.Sprintf("%s nft --config %s/gatehouse.toml > %s; nft --check -f %[3]s; nft -f %[3]s; nft -f %[3]s", l.bin(), l.dir, text))
		require.Equal(t, before, l.nft("--stateless list table inet gatehouse"), "what gatehouse nft prints is what run loads")
		l.start()
	})
	t.Run("killed, it leaves the way closed", func(t *testing.T) {
		l.end(syscall.SIGKILL)
		require.Contains(t, l.nft("list tables"), "table inet gatehouse")
		for _, addr := range append(both(busAddr, busAddr6), elseAddr, elseAddr6) {
			l.isReset(addr, "9352", "x") // redirected to nobody
			l.isReset(addr, "9355", "x") // not let through
		}
	})
	t.Run("removed, it is gone and nothing else is", func(t *testing.T) {
		before := l.nft("list table inet foreign")
		for range 2 { // also where it is not there
			l.Gate.Sh(l.bin() + " nft remove")
		}
		require.NotContains(t, l.nft("list tables"), "gatehouse")
		require.Equal(t, before, l.nft("list table inet foreign"))
		l.reaches(elseAddr, "9352", "x") // to see that it was the table that closed the way
	})
}

// TestGatewayRelaysWithoutACapability: only who writes the firewall needs one. Here
// the table is loaded by somebody else, and gatehouse is nobody.
func TestGatewayRelaysWithoutACapability(t *testing.T) {
	l := newLand(t, landBus)
	l.Origin.Echo("9352")
	text := filepath.Join(l.dir, "gatehouse.nft")
	l.Gate.Sh(fmt.Sprintf("%s nft --config %s/gatehouse.toml > %s; nft -f %[3]s", l.bin(), l.dir, text))
	l.write("gatehouse.toml", strings.Replace(l.config(), "manage = true", "manage = false", 1))
	l.Gate.Sh("sysctl -qw net.ipv4.ip_unprivileged_port_start=53; chown 65534 " + l.dir + "; chmod 711 " + filepath.Dir(l.dir))
	l.wrap = []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"}
	l.start()
	l.ask("bus.example.org")
	for _, addr := range []string{busAddr, busAddr6} {
		l.reaches(addr, "9352", amqp)
	}
	l.isReset(elseAddr, "9352", "x")
}
