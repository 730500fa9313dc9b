package proxy

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// serveTCP does what the first line of a tunnel says.
func (s *soak) serveTCP(conn net.Conn) {
	in := bufio.NewReader(conn)
	line, err := in.ReadString('\n')
	host, what, _ := strings.Cut(strings.TrimSpace(line), " ")
	if err != nil {
		return
	}
	switch what {
	case "reset":
		conn.(*net.TCPConn).SetLinger(0)
		return
	case "mute":
		n, _ := io.Copy(io.Discard, in)
		s.at(host, func(x *sight) { x.heard = n + int64(len(line)) })
		return
	}
	n, err := io.Copy(struct{ io.Writer }{conn}, in)
	s.at(host, func(x *sight) { x.heard, x.whole = n+int64(len(line)), err == nil })
}

// serveHTTP answers as the paths say.
func (s *soak) serveHTTP(conn net.Conn) {
	in := bufio.NewReader(conn)
	for {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		kind, _, _ := strings.Cut(r.URL.Path[1:], "/")
		if kind == "gone" {
			return
		}
		if kind == "early" {
			io.WriteString(conn, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n")
			return
		}
		heard, err := io.Copy(io.Discard, r.Body)
		s.at(r.URL.Path, func(x *sight) { x.heard, x.whole = heard, err == nil })
		if err != nil || !s.answer(conn, in, kind) {
			return
		}
	}
}

// answer reports whether the connection is good for another request.
func (s *soak) answer(conn net.Conn, in *bufio.Reader, kind string) bool {
	size := rand.IntN(40000)
	body := strings.Repeat("a", size)
	switch kind {
	case "chunked":
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		for range rand.IntN(4) {
			fmt.Fprintf(conn, "%x\r\n%s\r\n", size+1, body+"a")
		}
		_, err := io.WriteString(conn, "0\r\nX-Sum: 1\r\n\r\n")
		return err == nil
	case "large":
		_, err := fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", 40*size, strings.Repeat(body, 40))
		return err == nil
	case "short":
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", size+1, body)
		return false
	case "broken":
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\nrubbish\r\n", size+1, body+"a")
		return false
	case "silent":
		in.Peek(1) // until the gate has had enough
		return false
	}
	_, err := fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n%s", strconv.Itoa(size), body)
	return err == nil
}
