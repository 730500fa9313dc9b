package alarm

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
)

// talker is a server that says what it likes to one client.
func talker(t *testing.T, config *tls.Config, talk func(in *bufio.Reader, out io.Writer)) (addr string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if config != nil {
			conn = tls.Server(conn, config)
		}
		talk(bufio.NewReader(conn), conn)
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return ln.Addr().String()
}

func TestAServerThatDoesNotStopTalkingIsLeft(t *testing.T) {
	for name, piece := range map[string]string{"a line": "220 ", "an answer": "220-and\r\n"} {
		t.Run(name, func(t *testing.T) {
			addr := talker(t, nil, func(_ *bufio.Reader, out io.Writer) {
				for said := 0; said < 64<<20; said += len(piece) << 10 { // ends without the bound, too
					if _, err := io.WriteString(out, strings.Repeat(piece, 1<<10)); err != nil {
						return
					}
				}
			})
			m := mailTo(t, addr, "none", nettest.NewAuthority(t, "post"))
			m.User = ""
			require.ErrorContains(t, m.Send(t.Context(), message()), "says more than the 128 KiB that one letter takes")
		})
	}
}

func TestAServerThatRepeatsThePasswordIsNotQuoted(t *testing.T) {
	authority := nettest.NewAuthority(t, "post")
	config := &tls.Config{Certificates: []tls.Certificate{authority.Sign(t, nil, "post.test")}}
	addr := talker(t, config, func(in *bufio.Reader, out io.Writer) {
		io.WriteString(out, "220 post.test\r\n")
		in.ReadString('\n')
		io.WriteString(out, "250-post.test\r\n250 AUTH PLAIN\r\n")
		line, _ := in.ReadString('\n')
		io.WriteString(out, "535-5.7.8 no such login: "+line+"535 \x1b[2Jsesame, c2VzYW1l\r\n")
		in.ReadString('\n')
	})
	err := mailTo(t, addr, "tls", authority).Send(t.Context(), message())
	require.ErrorContains(t, err, `535 "5.7.8 no such login: AUTH PLAIN [password]`)
	for _, secret := range []string{"sesame", "c2VzYW1l", "AGdhdGUAc2VzYW1l", "\x1b", "\n"} {
		require.NotContains(t, err.Error(), secret)
	}
}
