package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"strconv"
	"time"
)

// route is the way to the site: through a proxy, or straight.
type route struct {
	http, tunnel string // addresses to connect to
	proxy        bool   // a tunnel begins with CONNECT
	inspect      string // where a tunnel is opened that is looked into
	redirected   string // where connections arrive that the kernel turns to the program
	names        string // where it answers for names
	from         string // the client's address; empty: any
	name, denied string // host names to ask for
	refusal      int    // status of the answer for the second
	site         *site
}

// patience bounds every connection of the load, so that a stuck program ends a
// measurement and not the run.
const patience = 20 * time.Second

// session is one client's connection for HTTP requests, opened when needed.
type session struct {
	route  route
	conn   net.Conn
	in     *bufio.Reader
	opened int // connections so far
}

func (s *session) close() {
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
}

func (s *session) connect(until time.Time) error {
	if s.conn != nil {
		return nil
	}
	c, err := net.DialTimeout("tcp", s.route.http, patience)
	if err != nil {
		return err
	}
	s.conn, s.opened = c, s.opened+1
	if s.in == nil {
		s.in = bufio.NewReader(c)
	}
	s.in.Reset(c)
	return c.SetDeadline(until)
}

// request is the head of a request for a host of the site.
func (r route) request(method, host, path, fields string) []byte {
	authority := net.JoinHostPort(host, strconv.Itoa(r.site.http.Port))
	return fmt.Appendf(nil, "%s http://%s%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nAccept: */*\r\n%s\r\n",
		method, authority, path, authority, fields)
}

// exchange sends a request without a body and reads the whole answer. A kept
// connection that the proxy closed meanwhile is replaced once, as every HTTP
// client does (RFC 9112, section 9.3.1).
func (s *session) exchange(request []byte, until time.Time) (status int, err error) {
	kept := s.conn != nil
	if err := s.connect(until); err != nil {
		return 0, err
	}
	head, err := s.roundTrip(request)
	if err != nil && kept {
		s.close()
		if err := s.connect(until); err != nil {
			return 0, err
		}
		head, err = s.roundTrip(request)
	}
	if err == nil {
		err = s.discard(head)
	}
	if err != nil || head.closes {
		s.close()
	}
	return head.status, err
}

func (s *session) roundTrip(request []byte) (responseHead, error) {
	if _, err := s.conn.Write(request); err != nil {
		return responseHead{}, err
	}
	return readResponseHead(s.in)
}

// responseHead is what the load must know to find a response's end.
type responseHead struct {
	status  int
	length  int64 // -1: not stated
	chunked bool
	closes  bool
}

func readResponseHead(in *bufio.Reader) (responseHead, error) {
	h := responseHead{length: -1}
	line, err := in.ReadSlice('\n')
	if err != nil {
		return h, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) {
		return h, fmt.Errorf("%q is no status line", line)
	}
	h.closes = line[7] == '0'
	if h.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return h, err
	}
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return h, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			return h, nil
		}
		if err := h.field(line); err != nil {
			return h, err
		}
	}
}

func (h *responseHead) field(line []byte) (err error) {
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimSpace(value)
	switch {
	case bytes.EqualFold(name, []byte("content-length")):
		h.length, err = strconv.ParseInt(string(value), 10, 64)
	case bytes.EqualFold(name, []byte("transfer-encoding")):
		h.chunked = bytes.EqualFold(value, []byte("chunked"))
	case bytes.EqualFold(name, []byte("connection")):
		h.closes = h.closes || bytes.EqualFold(value, []byte("close"))
	}
	return err
}

// discard reads the body and leaves the connection before the next response.
func (s *session) discard(h responseHead) error {
	switch {
	case h.chunked:
		if _, err := io.Copy(io.Discard, httputil.NewChunkedReader(s.in)); err != nil {
			return err
		}
		_, err := s.in.ReadSlice('\n') // the empty trailer
		return err
	case h.length >= 0:
		_, err := s.in.Discard(int(h.length))
		return err
	default:
		_, err := io.Copy(io.Discard, s.in)
		s.close()
		return err
	}
}

// openTunnel is a connection to the tcp service.
func openTunnel(ctx context.Context, r route, until time.Time) (net.Conn, error) {
	d := net.Dialer{Deadline: until}
	if r.from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(r.from)}
	}
	c, err := d.DialContext(ctx, "tcp", r.tunnel)
	if err != nil {
		return nil, err
	}
	if err = c.SetDeadline(until); err == nil && r.proxy {
		err = askTunnel(c, r)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func askTunnel(c net.Conn, r route) error { return askTunnelTo(c, r.name, r.site.tunnel.Port) }

func askTunnelTo(c net.Conn, host string, port int) error {
	authority := net.JoinHostPort(host, strconv.Itoa(port))
	if _, err := fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", authority, authority); err != nil {
		return err
	}
	in := bufio.NewReaderSize(c, 512)
	h, err := readResponseHead(in)
	if err != nil {
		return fmt.Errorf("CONNECT: %w", err)
	}
	if h.status != 200 {
		return fmt.Errorf("CONNECT was answered with %d", h.status)
	}
	if in.Buffered() > 0 {
		return errors.New("CONNECT: bytes came that nobody sent")
	}
	return nil
}

// pingByte sends one byte through a tunnel and waits until it is back.
func pingByte(c net.Conn) error {
	one := [1]byte{'e'}
	if _, err := c.Write(one[:]); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, one[:]); err != nil {
		return fmt.Errorf("the byte did not come back: %w", err)
	}
	return nil
}
