package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"strings"
	"sync"
)

// plainProxy is what the standard library gives for little: net/http's server,
// httputil's reverse proxy as a forward proxy (which hands on each piece of an
// answer without a length at once), a map of names.
type plainProxy struct {
	names           map[string]bool
	forward         *httputil.ReverseProxy
	origin, service string // addresses of the site, in place of resolving names
}

func plainMain(args []string) error {
	if len(args) < 5 {
		return fmt.Errorf("plain: want HTTP TUNNEL ORIGIN SERVICE NAMES, have %q", args)
	}
	text, err := os.ReadFile(args[4])
	if err != nil {
		return err
	}
	p := &plainProxy{names: map[string]bool{}, origin: args[2], service: args[3]}
	for name := range strings.SplitSeq(string(text), "\n") {
		p.names[name] = true
	}
	p.forward = &httputil.ReverseProxy{
		Rewrite:    func(*httputil.ProxyRequest) {},
		BufferPool: &buffers{},
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", p.origin)
		}, MaxIdleConnsPerHost: 256, DisableCompression: true},
		ErrorLog: log.New(io.Discard, "", 0), // a stream that ends early is none of its errors
	}
	return http.ListenAndServe(args[0], p)
}

// buffers keeps the buffers of bodies; without it each answer would allocate one.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if kept, ok := b.pool.Get().(*[]byte); ok {
		return *kept
	}
	return make([]byte, 32<<10)
}

func (b *buffers) Put(buffer []byte) { b.pool.Put(&buffer) }

func (p *plainProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil || !p.names[host] {
		http.Error(w, "not listed", http.StatusForbidden)
		return
	}
	if r.Method == http.MethodConnect {
		p.tunnel(w)
		return
	}
	http.NewResponseController(w).EnableFullDuplex()
	p.forward.ServeHTTP(w, r)
}

func (p *plainProxy) tunnel(w http.ResponseWriter) {
	out, err := net.Dial("tcp", p.service)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	in, early, err := http.NewResponseController(w).Hijack()
	if err != nil {
		out.Close()
		return
	}
	if _, err := io.WriteString(in, "HTTP/1.1 200 OK\r\n\r\n"); err != nil || early.Reader.Buffered() > 0 {
		in.Close()
		out.Close()
		return
	}
	join(in.(*net.TCPConn), out.(*net.TCPConn))
}
