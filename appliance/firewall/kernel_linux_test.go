package firewall

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

// path is a firewall in a kernel of its own (a network namespace), with a client
// before it and origins behind it. It is asked for by GATEHOUSE_NETNS=required.
type path struct {
	*nettest.Path
	*Firewall
	t *testing.T
	p *policy.Policy
}

const rotating = `
[[allow]]
name     = "bus"
clients  = "10.99.1.0/24"
hosts    = "bus.example.org"
ports    = "9350-9354"
protocol = "tcp"
via      = "forward"
`

func newPath(t *testing.T) *path {
	nettest.NeedNamespaces(t)
	p := &path{t: t, Path: nettest.NewPath(t), p: compile(t, rotating+"addresses = \"203.0.113.0/24\"\n")}
	p.Origin.Echo("9352")
	within := func(f func() error) (err error) { p.Gate.In(func() { err = f() }); return err }
	p.Firewall = New(Deps{
		Load: func(ctx context.Context, text string) error { return within(func() error { return Nft(ctx, text) }) },
		Cut: func(stay func(Flow) bool) (n int, err error) {
			return n, within(func() error { n, err = CutFlows(stay); return err })
		},
	})
	p.renew(p.p)
	return p
}

func (p *path) renew(to *policy.Policy) {
	p.t.Helper()
	require.NoError(p.t, p.Renew(context.Background(), Plan{LAN: []string{"lan0"}, WAN: []string{"wan0"}, Clients: to.Permitted(time.Now())}, to))
}

// answered pins what the name was answered with, for a while from now on. The
// grace is five minutes, so an answer that is to be over soon has come long ago.
func (p *path) answered(d time.Duration, addrs ...string) {
	p.t.Helper()
	name, err := policy.ParseHost("bus.example.org")
	require.NoError(p.t, err)
	now := time.Now()
	var permits []policy.Permit
	for _, a := range addrs {
		_, permit := p.p.Query(policy.Query{At: now, Client: netip.MustParseAddr(nettest.ClientAt), Name: name})
		v, permit := p.p.Answer(policy.Answer{At: now, Permit: permit, Addr: netip.MustParseAddr(a)})
		require.True(p.t, v.Allowed(), v.Reason)
		permits = append(permits, permit)
	}
	require.NoError(p.t, p.Pin(context.Background(), permits, now.Add(d-Grace)))
}

// reaches connects to an origin; the error is how it ended.
func (p *path) reaches(addr string) (net.Conn, error) {
	conn, err := p.Client.Dial("tcp", addr+":9352")
	if err != nil {
		return nil, err
	}
	p.t.Cleanup(func() { conn.Close() })
	return conn, echo(conn)
}

func echo(conn net.Conn) error {
	conn.SetDeadline(time.Now().Add(nettest.Patience))
	if _, err := io.WriteString(conn, "x"); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, make([]byte, 1))
	return err
}

// closes waits until the kernel says no; how it says no is all that is accepted.
func (p *path) closes(addr string) {
	p.t.Helper()
	for deadline := time.Now().Add(nettest.Patience); ; {
		conn, err := p.reaches(addr)
		if errors.Is(err, syscall.ECONNREFUSED) {
			return
		}
		require.NoError(p.t, err)
		conn.Close()
		require.True(p.t, time.Now().Before(deadline), "%s is still open", addr)
	}
}

const first, second = "203.0.113.7", "203.0.113.8"

func TestTheKernelLetsAPinRunOut(t *testing.T) {
	var p *path
	var flow net.Conn
	for d := time.Second; flow == nil; d *= 2 { // a machine may be so slow that a second is over by then
		p = newPath(t)
		_, err := p.reaches(first)
		require.ErrorIs(t, err, syscall.ECONNREFUSED, "before anybody asked for the name")
		p.answered(d, first)
		if flow, err = p.reaches(first); !errors.Is(err, syscall.ECONNREFUSED) {
			require.NoError(t, err)
		}
	}
	p.closes(first)
	require.NoError(t, echo(flow), "a flow that began in time goes on")
	p.renew(compile(t, rotating+"addresses = \"203.0.113.9\"\n"))
	require.ErrorIs(t, echo(flow), syscall.ECONNRESET, "until its permission ends")
}

func TestTheKernelKeepsAPinThatIsAskedForAgain(t *testing.T) {
	p := newPath(t)
	p.answered(3*time.Second, first, second)
	p.answered(time.Hour, first) // the name rotates: the second address is answered no more
	p.closes(second)             // so what was answered first is over
	_, err := p.reaches(first)
	require.NoError(t, err, "what was asked for again is open")
	require.Contains(t, p.Gate.Sh("nft list set inet gatehouse pins1_4"), first+" . tcp . 9350-9354")
}

func TestTheKernelKeepsRotatingAddressesOpenTogether(t *testing.T) {
	p := newPath(t)
	for _, addr := range []string{first, second, "203.0.113.9"} { // one at a time, as the name gives them
		p.answered(Grace, addr) // as a TTL of nothing would
	}
	for _, addr := range []string{first, second, "203.0.113.9"} {
		_, err := p.reaches(addr)
		require.NoError(t, err, "an address that the name has left is open for the grace")
	}
}
