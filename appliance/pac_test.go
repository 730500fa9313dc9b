package appliance

import (
	"io"
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestThePACListenerServesTheFileAndNothingElse(t *testing.T) {
	s := newSite(t, rulesText)
	s.configure("[pac]\notherwise = \"direct\"\n")
	base := "http://" + s.address("pac")
	for _, path := range []string{"/proxy.pac", "/wpad.dat"} {
		resp, err := browser.Get(base + path)
		require.NoError(t, err)
		resp.Body.Close()
		require.Equal(t, 200, resp.StatusCode)
		require.Equal(t, "application/x-ns-proxy-autoconfig", resp.Header.Get("Content-Type"))
		_, body := s.ask("GET", base+path, nil)
		require.Contains(t, body, `"PROXY `+s.address("proxy")+`"`)
		require.Contains(t, body, "www.groupcall.test")
		require.Contains(t, body, `otherwise = "DIRECT"`)
	}
	for _, path := range []string{"/", "/metrics", "/healthz", "/-/reload", "/proxy.pac/"} {
		status, _ := s.ask("GET", base+path, nil)
		require.Equal(t, 404, status, path)
	}
	status, _ := s.ask("POST", base+"/proxy.pac", nil)
	require.Equal(t, 405, status)
}

// A page of a browser, or a school behind one NAT that asks for the file at once, must
// not take the descriptors by which the gate serves everybody else.
func TestWhoHoldsConnectionsOpenAtThePACListenerFindsABound(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	from := func(client string) net.Conn {
		conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(client)}}).Dial("tcp", s.address("pac"))
		require.NoError(t, err)
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	for range mostGuestsPerClient {
		from("127.0.0.2")
	}
	n, err := from("127.0.0.2").Read(make([]byte, 1)) // nothing was asked
	require.Zero(t, n)
	require.ErrorIs(t, err, io.EOF, "it is closed at once")
	require.Contains(t, scrape(t, s.tally), "gatehouse_pac_connections_refused_total 1\n")
	require.Contains(t, scrape(t, s.tally), "gatehouse_admin_connections_refused_total 0\n")
	other := from("127.0.0.3")
	_, err = io.WriteString(other, "GET /proxy.pac HTTP/1.0\r\nHost: pac\r\n\r\n")
	require.NoError(t, err)
	answer, err := io.ReadAll(other)
	require.NoError(t, err)
	require.Contains(t, string(answer), "HTTP/1.0 200 OK")
}

func TestTheProxyBesideAnAddress(t *testing.T) {
	door := netip.MustParseAddrPort
	for _, test := range []struct {
		name, came string
		doors      []netip.AddrPort
		want       string // empty: none
	}{
		{"the door at the same address", "10.30.0.1", []netip.AddrPort{door("10.20.0.1:3128"), door("10.30.0.1:3129")}, "10.30.0.1:3129"},
		{"a door at every address", "10.30.0.1", []netip.AddrPort{door("[::]:3128")}, "10.30.0.1:3128"},
		{"a door at every IPv4 address is none for IPv6", "2001:db8::1", []netip.AddrPort{door("0.0.0.0:3128")}, ""},
		{"else one that others can reach", "10.30.0.1", []netip.AddrPort{door("127.0.0.1:3128"), door("10.20.0.1:3128")}, "10.20.0.1:3128"},
		{"else any", "10.30.0.1", []netip.AddrPort{door("127.0.0.1:3128")}, "127.0.0.1:3128"},
		{"nobody came anywhere, and the door is everywhere", "::", []netip.AddrPort{door("[::]:3128")}, ""},
		{"no door", "10.30.0.1", nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			at, ok := proxyBeside(netip.MustParseAddr(test.came), test.doors)
			require.Equal(t, test.want != "", ok)
			if ok {
				require.Equal(t, test.want, at.String())
			}
		})
	}
}
