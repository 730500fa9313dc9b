package nettest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// Parent says what a parent proxy on loopback does. Whatever host a request names,
// it connects to the same port of 127.0.0.1, or To.
type Parent struct {
	To string // where it connects to; empty: as above
	// Buffers has it take a request whole before it passes anything on, as
	// proxies that scan uploads do; Holding, where it is not nil, is told each
	// time that the head of one has come and its end is waited for.
	Buffers bool
	Holding func()
	// Answer is what it answers itself, given a request; empty: the origin is
	// asked.
	Answer func(*http.Request) string
}

// NewParent starts a parent proxy that takes requests in absolute form and
// CONNECT, one for each connection.
func NewParent(t testing.TB, p Parent) (addr string, port int) {
	return serve(t, p.play)
}

func (p Parent) play(conn net.Conn) {
	defer conn.Close()
	var said bytes.Buffer
	in := bufio.NewReader(io.TeeReader(conn, &said))
	r, err := http.ReadRequest(in)
	if err != nil {
		return
	}
	if p.Answer != nil {
		if answer := p.Answer(r); answer != "" {
			io.WriteString(conn, answer)
			return
		}
	}
	if p.Buffers && r.Method != http.MethodConnect && len(r.TransferEncoding) > 0 {
		if p.Holding != nil {
			p.Holding()
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
	}
	to := p.To
	if to == "" {
		_, number, ok := strings.Cut(r.Host, ":")
		if !ok {
			number = "80"
		}
		to = "127.0.0.1:" + number
	}
	far, err := net.Dial("tcp", to)
	if err != nil {
		io.WriteString(conn, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
		return
	}
	defer far.Close()
	if r.Method == http.MethodConnect {
		io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n")
	} else {
		_, rest, _ := strings.Cut(said.String(), "\r\n")
		fmt.Fprintf(far, "%s %s HTTP/1.1\r\n%s", r.Method, r.URL.RequestURI(), rest)
	}
	go func() {
		io.Copy(far, conn) // ends with the connection
		far.(*net.TCPConn).CloseWrite()
	}()
	io.Copy(conn, far)
}
