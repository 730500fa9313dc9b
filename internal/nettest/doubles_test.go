package nettest

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// flushing is the simplest proxy that streams: what the doubles are tried on.
func flushing(t *testing.T) (addr string) {
	t.Helper()
	streaming := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {}, FlushInterval: -1}
	return serveHTTP(t, streaming)
}

func serveHTTP(t *testing.T, h http.Handler) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(ln) }()
	t.Cleanup(func() { s.Close(); <-done })
	return ln.Addr().String()
}

func TestTheServiceBusDoubleCompletesThroughAProxyThatStreams(t *testing.T) {
	relay := NewServiceBus(t, "127.0.0.1")
	require.NoError(t, WebStream(flushing(t), relay.Addr))
	require.NoError(t, WebStream(relay.Addr, relay.Addr), "without any proxy: servers take absolute-form too")
}

func TestTheServiceBusDoubleFailsWhereTheUploadIsCollectedFirst(t *testing.T) {
	relay := NewServiceBus(t, "127.0.0.1")
	collecting := serveHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			http.Error(w, "the answer has not ended", http.StatusGatewayTimeout)
			return
		}
		target, _ := url.Parse("http://" + relay.Addr)
		httputil.NewSingleHostReverseProxy(target).ServeHTTP(w, r)
	}))
	require.ErrorContains(t, WebStream(collecting, relay.Addr), "open the GET")
}

func TestTheAMQPPeerEchoes(t *testing.T) {
	addr, _ := NewAMQPPeer(t)
	c := Dial(t, addr).Say("%s", AMQPHeader).Expect(AMQPHeader).Say("frame").Expect("frame")
	c.CloseWrite()
	_, err := c.Ended()
	require.NoError(t, err)
}

func TestTheUpgradeOriginAnswersTheHandshakeOfTheRFC(t *testing.T) {
	addr, _ := NewUpgradeOrigin(t)
	c := Dial(t, addr).Say("GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	require.Contains(t, c.Head(), "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n") // RFC 6455, section 1.3
	c.Say("hi").Expect("hi").Say("bye")
	_, err := c.Ended()
	require.NoError(t, err)
}

func TestTheTLSOriginEchoesUnderItsName(t *testing.T) {
	o := NewTLSOrigin(t, "www.example.org")
	c, err := tls.Dial("tcp", o.Addr, &tls.Config{ServerName: "www.example.org", RootCAs: o.Roots})
	require.NoError(t, err)
	defer c.Close()
	fmt.Fprint(c, "hi")
	back := make([]byte, 2)
	_, err = io.ReadFull(c, back)
	require.NoError(t, err)
	require.Equal(t, "hi", string(back))
}

func TestACannedOriginEndsAsItIsTold(t *testing.T) {
	for _, reset := range []bool{false, true} {
		addr, _ := NewCannedOrigin(t, "HTTP/1.1 200 OK\r\n\r\nabc", reset)
		c := Dial(t, addr).Say("GET / HTTP/1.1\r\n\r\n")
		c.Expect("HTTP/1.1 200 OK\r\n\r\nabc")
		_, err := c.Ended()
		require.Equal(t, reset, err != nil)
	}
}

func TestNobodyListensAtADeafPort(t *testing.T) {
	_, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", Deaf(t)))
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
}
