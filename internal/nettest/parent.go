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

// Parent says what a parent proxy does. Whatever host a request names, it connects to
// the same port of 127.0.0.1, or To.
type Parent struct {
	To string // where it connects to; empty: as above
	// Dial, where it is not nil, has it connect to the host and port that a request
	// names.
	Dial func(address string) (net.Conn, error)
	// Buffers has it take a request whole before it passes anything on, as
	// proxies that scan uploads do; Holding, where it is not nil, is told each
	// time that the head of one has come and its end is waited for.
	Buffers bool
	Holding func()
	// Collects has it take an answer whole before it passes anything on, as proxies
	// that scan downloads do.
	Collects bool
	// Answer is what it answers itself, given a request; empty: the origin is
	// asked.
	Answer func(*http.Request) string
}

// NewParent starts a parent proxy on loopback that takes requests in absolute form
// and CONNECT, one for each connection.
func NewParent(t testing.TB, p Parent) (addr string, port int) {
	return serve(t, p.play)
}

// Serve starts it at a listener, which ends with the test.
func (p Parent) Serve(t testing.TB, ln net.Listener) { serveOn(t, ln, p.play) }

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
	far, err := p.reach(r.Host)
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
		if r.Method == http.MethodConnect {
			far.(*net.TCPConn).CloseWrite()
		} else {
			far.Close() // who leaves has given the request up
		}
	}()
	if r.Method == http.MethodConnect {
		io.Copy(conn, far)
	} else {
		p.pass(conn, far, r)
	}
}

// pass passes on the answer to a request: the heads and pieces as they come, or all
// of it when it has ended. It is the last one of its connection.
func (p Parent) pass(conn, far net.Conn, r *http.Request) {
	from := bufio.NewReader(far)
	for {
		answer, err := http.ReadResponse(from, r)
		if err != nil {
			return
		}
		var whole bytes.Buffer
		to := io.Writer(conn)
		if p.Collects {
			to = &whole
		}
		answer.Close = answer.StatusCode >= 200
		err = answer.Write(to)
		answer.Body.Close()
		if err == nil {
			whole.WriteTo(conn)
		}
		if err != nil || answer.Close {
			return
		}
	}
}

// reach connects to where a request is to go.
func (p Parent) reach(host string) (net.Conn, error) {
	_, number, ok := strings.Cut(host, ":")
	if !ok {
		host, number = host+":80", "80"
	}
	switch {
	case p.Dial != nil:
		return p.Dial(host)
	case p.To != "":
		return net.Dial("tcp", p.To)
	}
	return net.Dial("tcp", "127.0.0.1:"+number)
}
