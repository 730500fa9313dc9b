package proxy

import (
	"context"
	"crypto/tls"
	"net"
	"regexp"
	"sync"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

// publication is the way in to where a rule leads.
func (over carrier) publication(r *policy.Rule) policy.Publication {
	host, _ := r.Hosts[0].Exact()
	p := policy.Publication{
		Name: r.Name, Line: r.Line, Clients: r.Clients, To: policy.Dest{Host: host, Port: r.Ports[0].First}, Secure: over.secure,
		Methods: r.Methods, Paths: r.Paths, MaxBody: 1 << 40,
	}
	if p.Methods == nil {
		p.Methods = []string{"GET", "HEAD", "POST", "PUT", "OPTIONS"}
	}
	return p
}

// publish opens a door to a publication.
func (g *gate) publish(name string) {
	g.t.Helper()
	g.way = &Entrance{Name: name}
	if g.over.secure {
		g.way.TLS = &tls.Config{Certificates: originTLS(g.t).Certificates, NextProtos: []string{"http/1.1"}}
	}
	g.serveDoor(g.way)
}

// serveDoor serves a published door until the test ends, or until it is closed.
func (g *gate) serveDoor(door *Entrance) {
	g.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(g.t, err)
	g.wayIn = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() { g.server.ServePublish(ctx, ln, door) })
	g.leave = func() { cancel(); serving.Wait() }
	g.t.Cleanup(g.leave)
}

// enter connects to the published door.
func (g *gate) enter() *nettest.Peer {
	g.t.Helper()
	p := nettest.Dial(g.t, g.wayIn)
	if !g.over.secure {
		return nettest.NewPeer(g.t, device{p.Conn.(*net.TCPConn)})
	}
	secure := tls.Client(p.Conn, &tls.Config{ServerName: www, RootCAs: originAuthority(g.t).Roots})
	require.NoError(g.t, secure.Handshake())
	return nettest.NewPeer(g.t, secureDevice{secure})
}

// device and secureDevice let the tests write to a published door what they say to a
// proxy.
type (
	device       struct{ *net.TCPConn }
	secureDevice struct{ *tls.Conn }
)

func (d device) Write(p []byte) (int, error) {
	_, err := d.TCPConn.Write([]byte(carrier{published: true}.spell(string(p))))
	return len(p), err
}

func (d secureDevice) Write(p []byte) (int, error) {
	_, err := d.Conn.Write([]byte(carrier{published: true}.spell(string(p))))
	return len(p), err
}

// heard is a head without what a published door says about the client, which has a
// test of its own.
func (over carrier) heard(head string) string {
	if over.published {
		return said.ReplaceAllString(head, "")
	}
	return head
}

var said = regexp.MustCompile(`(X-Forwarded-(For|Host|Proto)|Forwarded): [^\r]+\r\n`)
