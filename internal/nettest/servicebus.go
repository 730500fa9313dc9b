package nettest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// ServiceBus is a double of a Service Bus relay in the HTTP "WebStream" mode of
// Microsoft's older .NET client library: a POST creates a connection, and two
// endless messages beside each other carry it, a chunked POST up and a GET down.
// The relay echoes. It is causal: the head of the GET leaves at once, and no
// byte of its body before a chunk of the POST has come.
type ServiceBus struct {
	Addr string
	Port int
	host string // as the endpoints name it

	mu      sync.Mutex
	streams map[string]chan []byte
	created int
	over    chan struct{} // closed when the test ends
}

// NewServiceBus starts a relay that is known as host.
func NewServiceBus(t testing.TB, host string) *ServiceBus {
	t.Helper()
	b := &ServiceBus{host: host, streams: map[string]chan []byte{}, over: make(chan struct{})}
	b.Addr, b.Port = serve(t, b.play)
	t.Cleanup(func() { close(b.over) })
	return b
}

// play serves the requests of one connection.
func (b *ServiceBus) play(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		switch {
		case r.Method == http.MethodPost && r.Header.Get("X-Wscreate") != "":
			err = b.create(conn, r)
		case r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/up/"):
			err = b.upward(conn, r)
		case r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/down/"):
			err = b.downward(conn, r)
		default:
			_, err = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
		}
		if err != nil {
			return
		}
	}
}

// create answers 201 and names the two endpoints by absolute URIs.
func (b *ServiceBus) create(conn net.Conn, r *http.Request) error {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return err
	}
	b.mu.Lock()
	b.created++
	id := fmt.Sprint(b.created)
	b.streams[id] = make(chan []byte)
	b.mu.Unlock()
	at := fmt.Sprintf("http://%s:%d", b.host, b.Port)
	_, err := fmt.Fprintf(conn, "HTTP/1.1 201 Created\r\nX-WSENDPT1: %s/down/%s\r\nX-WSENDPT2: %s/up/%s\r\nContent-Length: 0\r\n\r\n", at, id, at, id)
	return err
}

func (b *ServiceBus) stream(r *http.Request) chan []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.streams[r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]]
}

// upward takes the chunks of the POST for as long as it lasts.
func (b *ServiceBus) upward(conn net.Conn, r *http.Request) error {
	stream := b.stream(r)
	if stream == nil || len(r.TransferEncoding) != 1 {
		return errors.New("an upward stream is a chunked POST to a created connection")
	}
	defer close(stream)
	piece := make([]byte, 4096)
	for {
		n, err := r.Body.Read(piece)
		if n > 0 {
			select {
			case stream <- append([]byte(nil), piece[:n]...):
			case <-b.over:
				return net.ErrClosed
			}
		}
		if err == io.EOF {
			_, err = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			return err
		}
		if err != nil {
			return err
		}
	}
}

// downward sends its head at once and each piece as it comes up.
func (b *ServiceBus) downward(conn net.Conn, r *http.Request) error {
	stream := b.stream(r)
	if stream == nil {
		return errors.New("no such connection")
	}
	_, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
	for err == nil {
		select {
		case piece, more := <-stream:
			if !more {
				_, err = io.WriteString(conn, "0\r\n\r\n")
				return err
			}
			_, err = fmt.Fprintf(conn, "%x\r\n%s\r\n", len(piece), piece)
		case <-b.over:
			return net.ErrClosed
		}
	}
	return err
}

// WebStream drives a relay through an HTTP proxy in raw bytes as the library
// does: it creates a connection, opens both streams, and twice sends 01 02 03 04
// up and waits for it to come down, while both are open. Then it ends the stream
// in good order. It may be called from any goroutine.
func WebStream(proxy, relay string) error {
	up, down, err := createWebStream(proxy, relay)
	if err != nil {
		return fmt.Errorf("create the stream: %w", err)
	}
	get, err := openDown(proxy, down)
	if err != nil {
		return fmt.Errorf("open the GET: %w", err)
	}
	defer get.conn.Close()
	post, err := net.Dial("tcp", proxy)
	if err != nil {
		return err
	}
	defer post.Close()
	post.SetDeadline(time.Now().Add(Patience))
	if _, err := fmt.Fprintf(post, "POST %s HTTP/1.1\r\nHost: %s\r\nX-WSCONNECT: connection\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n", up, up.Host); err != nil {
		return err
	}
	return echoTwice(post, get)
}

// createWebStream sends the POST that creates, and reads the endpoints.
func createWebStream(proxy, relay string) (up, down *url.URL, err error) {
	conn, err := net.Dial("tcp", proxy)
	if err != nil {
		return nil, nil, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(Patience))
	fmt.Fprintf(conn, "POST http://%s/ HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Type: text/plain\r\nX-WSCREATE: connection\r\n"+
		"X-PROCESS-AT: http://schemas.microsoft.com/netservices/2009/05/servicebus/connect/roles/relay\r\nContent-Length: 0\r\n\r\n", relay, relay)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		said, _ := io.ReadAll(io.LimitReader(resp.Body, 500))
		return nil, nil, fmt.Errorf("status %s: %s", resp.Status, said)
	}
	if down, err = url.Parse(resp.Header.Get("X-Wsendpt1")); err != nil {
		return nil, nil, err
	}
	up, err = url.Parse(resp.Header.Get("X-Wsendpt2"))
	return up, down, err
}

// downStream is the GET, its head read.
type downStream struct {
	conn net.Conn
	body io.Reader
}

func openDown(proxy string, down *url.URL) (*downStream, error) {
	conn, err := net.Dial("tcp", proxy)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(Patience))
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nX-WSCONNECT: connection\r\n\r\n", down, down.Host)
	in := bufio.NewReader(conn)
	head, err := readHead(in) // before anything has gone up
	switch {
	case err != nil:
	case !strings.HasPrefix(head, "HTTP/1.1 200 "):
		err = fmt.Errorf("the GET was answered %q", head)
	case !strings.Contains(head, "\r\nTransfer-Encoding: chunked\r\n"):
		err = fmt.Errorf("the endless answer is not chunked: %q", head)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return &downStream{conn, httputil.NewChunkedReader(in)}, nil
}

// echoTwice is the library's test that the stream flows, and the orderly end.
func echoTwice(post net.Conn, get *downStream) error {
	const probe = "\x01\x02\x03\x04"
	for i := range 2 {
		if _, err := fmt.Fprintf(post, "%x\r\n%s\r\n", len(probe), probe); err != nil {
			return err
		}
		back := make([]byte, len(probe))
		if _, err := io.ReadFull(get.body, back); err != nil || string(back) != probe {
			return fmt.Errorf("echo %d came back as %x: %v", i+1, back, err)
		}
	}
	if _, err := io.WriteString(post, "0\r\n\r\n"); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(post), nil)
	if err != nil {
		return fmt.Errorf("end of the POST: %w", err)
	}
	resp.Body.Close()
	rest, err := io.ReadAll(get.body)
	if err != nil || len(rest) > 0 || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("end of the stream: %s, then %q, %v", resp.Status, rest, err)
	}
	return nil
}
