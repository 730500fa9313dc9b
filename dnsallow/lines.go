package dnsallow

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// lines are the connections to upstreams that are asked over TLS. They are kept
// for the next question, for a handshake costs more than an answer. Close hangs
// them up.
type lines struct {
	roots *x509.CertPool // nil: the system's

	mu     sync.Mutex
	closed bool
	idle   map[Upstream][]idleLine
	https  map[Upstream]*http.Transport
	found  map[Upstream]foundAddr
}

// idleLine is a connection that waits for its next question.
type idleLine struct {
	*tls.Conn
	since time.Time
}

// foundAddr is what the other upstreams said about the name of one.
type foundAddr struct {
	addr  netip.Addr
	until time.Time
}

const (
	// lineIdle is for how long an idle line is trusted to be still there (RFC
	// 7766, section 6.2.3, has servers wait a few seconds).
	lineIdle = 5 * time.Second
	// linesKept is how many idle lines one upstream has.
	linesKept = 4
	dotALPN   = "dot"
)

// config is how a server proves who it is: with a certificate for its name (RFC
// 8310, the strict profile). There is no falling back.
func (l *lines) config(u Upstream, protocols ...string) *tls.Config {
	return &tls.Config{ServerName: u.name, RootCAs: l.roots, MinVersion: tls.VersionTLS12, NextProtos: protocols}
}

// overTLS asks over an idle line, and over a new one where there is none or the
// server has hung it up in the meantime.
func (l *lines) overTLS(ctx context.Context, u Upstream, m *dns.Msg) (*dns.Msg, error) {
	if conn := l.take(u); conn != nil {
		if reply, err := l.over(ctx, u, conn, m); err == nil || ctx.Err() != nil {
			return reply, err
		}
	}
	d := tls.Dialer{Config: l.config(u, dotALPN)}
	conn, err := d.DialContext(ctx, "tcp", u.addr.String())
	if err != nil {
		return nil, err
	}
	return l.over(ctx, u, conn.(*tls.Conn), m)
}

func (l *lines) over(ctx context.Context, u Upstream, conn *tls.Conn, m *dns.Msg) (*dns.Msg, error) {
	stop := obey(ctx, conn)
	reply, err := exchangeFramed(&dns.Conn{Conn: conn}, m)
	if !stop() || err != nil || !l.keep(u, conn) {
		conn.Close()
	}
	return reply, err
}

// take is an idle line that is young enough, nil where there is none.
func (l *lines) take(u Upstream) *tls.Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	for list := l.idle[u]; len(list) > 0; list = l.idle[u] {
		last := list[len(list)-1]
		l.idle[u] = list[:len(list)-1]
		if time.Since(last.since) < lineIdle {
			return last.Conn
		}
		last.Close()
	}
	return nil
}

func (l *lines) keep(u Upstream, conn *tls.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.idle[u]) >= linesKept {
		return false
	}
	if l.idle == nil {
		l.idle = map[Upstream][]idleLine{}
	}
	l.idle[u] = append(l.idle[u], idleLine{conn, time.Now()})
	return true
}

const dnsMessage = "application/dns-message"

// overHTTPS asks by POST (RFC 8484, section 4.1). The address is the one the
// upstream has; the certificate is for its name. No redirect is followed.
func (l *lines) overHTTPS(ctx context.Context, u Upstream, m *dns.Msg) (*dns.Msg, error) {
	wire, err := m.Pack()
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, u.url(), bytes.NewReader(wire))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", dnsMessage)
	request.Header.Set("Accept", dnsMessage)
	request.Header["User-Agent"] = nil // nobody's business
	response, err := l.transport(u).RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != dnsMessage {
		return nil, invalidError(fmt.Sprintf("HTTP status %d, not a DNS message", response.StatusCode))
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, dns.MaxMsgSize+1))
	if err != nil {
		return nil, err
	}
	reply := new(dns.Msg)
	switch {
	case len(body) > dns.MaxMsgSize:
		return nil, invalidError("it is longer than a DNS message can be")
	case reply.Unpack(body) != nil:
		return nil, invalidError("it cannot be read")
	}
	return reply, answersTo(reply, m)
}

func (u Upstream) url() string {
	host := u.name
	if a, err := netip.ParseAddr(host); err == nil && a.Is6() {
		host = "[" + host + "]"
	}
	return fmt.Sprintf("https://%s:%d%s", host, u.addr.Port(), u.path)
}

// transport is the HTTP client of one upstream. It knows no proxy and no address
// but the upstream's.
func (l *lines) transport(u Upstream) *http.Transport {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.https[u]
	if t == nil {
		var d net.Dialer
		t = &http.Transport{
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return d.DialContext(ctx, network, u.addr.String())
			},
			TLSClientConfig:   l.config(u),
			ForceAttemptHTTP2: true,
			IdleConnTimeout:   30 * time.Second,
			MaxConnsPerHost:   64,
			DisableKeepAlives: l.closed,
		}
		if l.https == nil {
			l.https = map[Upstream]*http.Transport{}
		}
		l.https[u] = t
	}
	return t
}

// close hangs up. What is asked later is asked over lines that are not kept.
func (l *lines) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, list := range l.idle {
		for _, conn := range list {
			conn.Close()
		}
	}
	for _, t := range l.https {
		t.CloseIdleConnections()
	}
	l.idle, l.https = nil, nil
}
