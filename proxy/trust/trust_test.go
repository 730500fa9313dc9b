package trust

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gatehouse/internal/flow"
	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

func TestMain(m *testing.M) { nettest.Main(m) }

const www = "www.example.org"

// dial connects to an origin as the gate does.
func dial(t *testing.T, o *nettest.Origin) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", o.Addr)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(nettest.Patience))
	return conn.(*net.TCPConn)
}

func handshake(t *testing.T, c *Client, o *nettest.Origin, host string) (*Conn, error) {
	t.Helper()
	h, err := policy.ParseHost(host)
	require.NoError(t, err)
	return c.Handshake(context.Background(), dial(t, o), h)
}

func serverConfig(certs ...tls.Certificate) *tls.Config { return &tls.Config{Certificates: certs} }

func TestAnOriginIsTrustedForItsCertificateAlone(t *testing.T) {
	now := time.Now()
	good, stranger := nettest.NewAuthority(t, "Good CA"), nettest.NewAuthority(t, "Stranger\nCA\x1b")
	fine := good.Sign(t, nil, www, "127.0.0.1")
	for _, test := range []struct {
		name, host string
		config     *tls.Config
		cause      flow.Fault
		says       []string
	}{
		{"a certificate of its own name", www, serverConfig(fine), "", nil},
		{"a certificate of its own address", "127.0.0.1", serverConfig(fine), "", nil},
		{"one that has expired", www, serverConfig(good.Sign(t, func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = now.AddDate(-1, 0, 0), time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)
		}, www)), flow.Expired, []string{www, "CN=Good CA", "expired on 2 January 2026, 03:04 UTC"}},
		{"one of the future", www, serverConfig(good.Sign(t, func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Date(2100, 1, 2, 3, 4, 0, 0, time.UTC), time.Date(2101, 1, 2, 3, 4, 0, 0, time.UTC)
		}, www)), flow.NotYetValid, []string{www, "CN=Good CA", "not valid before 2 January 2100"}},
		{"one for another name", www, serverConfig(good.Sign(t, nil, "a.example", "b.example")), flow.WrongHost, []string{www, "CN=Good CA", "a.example, b.example"}},
		{"one for many other names", www, serverConfig(good.Sign(t, nil, "a.example", "b.example", "c.example", "d.example", "e.example", "f.example")), flow.WrongHost, []string{"e.example, and others"}},
		{"one for no name at all", www, serverConfig(good.Sign(t, nil)), flow.WrongHost, []string{"none"}},
		{"one that it signed itself", www, serverConfig(nettest.SelfSigned(t, nil, www)), flow.SelfSigned, []string{www, "CN=test origin", "self-signed"}},
		{"one of an unknown issuer", www, serverConfig(stranger.Sign(t, nil, www)), flow.UnknownIssuer, []string{www, "StrangerCA", "does not trust"}},
		{"one that is signed with SHA-1", www, serverConfig(good.Sign(t, func(c *x509.Certificate) { c.SignatureAlgorithm = x509.ECDSAWithSHA1 }, www)), flow.BadCertificate, []string{www, "CN=Good CA", "can be forged (ECDSA-SHA1)"}},
		{"one that was revoked, as its own staple says", www, serverConfig(good.Revoke(t, good.Sign(t, nil, www), time.Date(2026, 5, 6, 0, 0, 0, 0, time.UTC))), flow.Revoked, []string{www, "CN=Good CA", "revoked on 6 May 2026"}},
		{"one that is no server's", www, serverConfig(good.Sign(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, www)), flow.BadCertificate, []string{www, "cannot be verified"}},
		{"old TLS", www, &tls.Config{Certificates: []tls.Certificate{fine}, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}, flow.HandshakeRefused, []string{www, "protocol version"}},
		{"another protocol alone", www, &tls.Config{Certificates: []tls.Certificate{fine}, NextProtos: []string{"acme-tls/1"}}, flow.HandshakeRefused, []string{www, "HTTP/1.1"}},
		{"a demand for a certificate, in TLS 1.2", www, &tls.Config{Certificates: []tls.Certificate{fine}, ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12}, flow.ClientCertificate, []string{www, "demands"}},
		{"a wish for a certificate", www, &tls.Config{Certificates: []tls.Certificate{fine}, ClientAuth: tls.RequestClientCert}, "", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := nettest.NewSecureOrigin(t, test.config)
			s, err := handshake(t, New(good.Roots, nil), o, test.host)
			if test.cause == "" {
				require.NoError(t, err)
				o.Take(t).Say("hi").Close()
				said, err := io.ReadAll(s)
				require.NoError(t, err)
				require.Equal(t, "hi", string(said))
				return
			}
			var f *Fault
			require.ErrorAs(t, err, &f)
			require.Equal(t, test.cause, f.Cause, f.Why)
			for _, words := range test.says {
				require.Contains(t, f.Why, words)
			}
			require.NotContains(t, f.Why, "127.0.0.1")
		})
	}
}

func TestAClientsCertificateCanBeDemandedAfterTheHandshake(t *testing.T) {
	good := nettest.NewAuthority(t, "Good CA")
	o := nettest.NewSecureOrigin(t, &tls.Config{Certificates: []tls.Certificate{good.Sign(t, nil, www)}, ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS13})
	s, err := handshake(t, New(good.Roots, nil), o, www)
	require.NoError(t, err)
	_, err = s.Read(make([]byte, 1))
	var f *Fault
	require.ErrorAs(t, err, &f)
	require.Equal(t, flow.ClientCertificate, f.Cause)
	require.Contains(t, f.Fix, `inspect = "never"`)
}

func TestWhatIsNoTLSIsNotTrusted(t *testing.T) {
	for _, test := range []struct {
		name  string
		cause flow.Fault
		play  func(*nettest.Peer)
	}{
		{"plain HTTP", flow.NoHandshake, func(s *nettest.Peer) { s.Say("HTTP/1.1 400 Bad Request\r\n\r\n") }},
		{"an end", flow.NoHandshake, func(s *nettest.Peer) { s.Close() }},
		{"a reset", flow.NoHandshake, func(s *nettest.Peer) { s.Reset() }},
		{"silence", flow.HandshakeTimeout, func(*nettest.Peer) {}},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := nettest.NewOrigin(t)
			conn := dial(t, o)
			test.play(o.Take(t))
			if test.cause == flow.HandshakeTimeout {
				conn.SetDeadline(time.Now().Add(50 * time.Millisecond))
			}
			host, err := policy.ParseHost(www)
			require.NoError(t, err)
			_, err = New(nettest.NewAuthority(t, "CA").Roots, nil).Handshake(context.Background(), conn, host)
			var f *Fault
			require.ErrorAs(t, err, &f)
			require.Equal(t, test.cause, f.Cause, f.Why)
			require.Contains(t, f.Why, www)
		})
	}
}

func TestASessionIsResumedAndHeldToItsCertificateAgain(t *testing.T) {
	good := nettest.NewAuthority(t, "Good CA")
	ends := time.Now().Add(time.Hour)
	leaf := good.Sign(t, func(c *x509.Certificate) { c.NotAfter = ends }, www)
	o := nettest.NewSecureOrigin(t, serverConfig(leaf))
	now := time.Now()
	c := New(good.Roots, func() time.Time { return now })
	for i, resumed := range []bool{false, true} {
		s, err := handshake(t, c, o, www)
		require.NoError(t, err)
		require.Equal(t, resumed, s.ConnectionState().DidResume, i)
		o.Take(t).Say("x").Close()
		_, err = io.ReadAll(s) // takes the ticket in
		require.NoError(t, err)
	}
	now = ends.Add(time.Second)
	_, err := handshake(t, c, o, www)
	var f *Fault
	require.ErrorAs(t, err, &f)
	require.Equal(t, flow.Expired, f.Cause)
}

func TestOnlyAnEndThatIsSaidIsAnEnd(t *testing.T) {
	good := nettest.NewAuthority(t, "Good CA")
	o := nettest.NewSecureOrigin(t, serverConfig(good.Sign(t, nil, www)))
	for _, test := range []struct {
		name string
		end  func(*tls.Conn)
		want error
	}{
		{"said", func(s *tls.Conn) { s.Close() }, nil},
		{"cut short by anybody on the way", func(s *tls.Conn) { s.NetConn().Close() }, io.ErrUnexpectedEOF},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := handshake(t, New(good.Roots, nil), o, www)
			require.NoError(t, err)
			s := o.Take(t).Say("body")
			test.end(s.Conn.(*tls.Conn))
			said, err := io.ReadAll(c)
			require.Equal(t, "body", string(said))
			require.ErrorIs(t, err, test.want)
		})
	}
}

func TestAnIdleConnectionIsGoodAsLongAsItIsQuiet(t *testing.T) {
	good := nettest.NewAuthority(t, "Good CA")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		o := nettest.NewSecureOrigin(t, &tls.Config{Certificates: []tls.Certificate{good.Sign(t, nil, www)}, MaxVersion: version})
		open := func(t *testing.T) (*Conn, *nettest.Peer) {
			c, err := handshake(t, New(good.Roots, nil), o, www)
			require.NoError(t, err)
			s := o.Take(t).Say("x")
			_, err = io.ReadFull(c, make([]byte, 1)) // what came before it has come too
			require.NoError(t, err)
			return c, s
		}
		for _, test := range []struct {
			name           string
			do             func(*nettest.Peer)
			arrives, quiet bool
		}{
			{"nothing was said", func(*nettest.Peer) {}, false, true},
			{"it said what nobody asked", func(s *nettest.Peer) { s.Say("HTTP/1.1 200 OK\r\n\r\n") }, true, false},
			{"it said that it is done", func(s *nettest.Peer) { s.CloseWrite() }, true, false},
			{"it ended the connection", func(s *nettest.Peer) { s.Conn.(*tls.Conn).NetConn().Close() }, true, false},
			{"it reset the connection", func(s *nettest.Peer) { s.Reset() }, true, false},
		} {
			t.Run(tls.VersionName(version)+": "+test.name, func(t *testing.T) {
				c, s := open(t)
				test.do(s)
				if test.arrives { // then wait until it has arrived, and take nothing
					awaitReadable(t, c)
				}
				require.Equal(t, test.quiet, c.Quiet())
				if test.quiet { // and goes on
					s.Say("more")
					more := make([]byte, 4)
					_, err := io.ReadFull(c, more)
					require.NoError(t, err)
					require.Equal(t, "more", string(more))
				}
			})
		}
	}
}

// awaitReadable waits until there is something to read, or an end.
func awaitReadable(t *testing.T, c *Conn) {
	t.Helper()
	raw, err := c.NetConn().(*net.TCPConn).SyscallConn()
	require.NoError(t, err)
	first := true
	err = raw.Read(func(fd uintptr) bool {
		if first { // speculative: nothing may be there yet
			first = false
			return readable(fd)
		}
		return true
	})
	require.NoError(t, err)
}

// readable reports whether a read would not wait.
func readable(fd uintptr) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0
}

func TestFaultsAreFitToBeShown(t *testing.T) {
	require.Equal(t, "ab", Plain("a\x00\n\x1bb\xff"))
	require.Equal(t, 201, len([]rune(Plain(string(make([]byte, 10))+"é"+string(bytesOf('x', 500))))))
	_, said := Alert(errors.New("tls: internal"))
	require.False(t, said)
}

func bytesOf(b byte, n int) []byte {
	list := make([]byte, n)
	for i := range list {
		list[i] = b
	}
	return list
}
