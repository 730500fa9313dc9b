package doctor

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"gatehouse/policy"
)

// speaksHTTP reports whether requests can be tried: plain HTTP, and TLS on the
// port of https. Other TLS ports carry AMQP and the like.
func (w *way) speaksHTTP() bool {
	return w.t.protocol == policy.PlainHTTP || w.t.protocol == policy.TLS && w.t.dest.Port == 443
}

// method is one that the rule permits; GET before others.
func (w *way) method() string {
	if m := w.t.rule.Methods; m != nil && !slices.Contains(m, "GET") && len(m) > 0 {
		return m[0]
	}
	return "GET"
}

func (w *way) methodListed(method string) bool {
	return w.t.rule.Methods == nil || slices.Contains(w.t.rule.Methods, method)
}

// path is one that the rule permits, and names in full; "/" where it does not
// speak of paths.
func (w *way) path() string {
	for _, g := range w.t.rule.Paths {
		if p := g.String(); !strings.Contains(p, "*") {
			return (&url.URL{Path: p}).EscapedPath()
		}
	}
	return "/"
}

// get asks for a page. Any answer of the origin will do: it is the way that is
// tried, not the page.
func (w *way) get(ctx context.Context) *Check {
	if !w.methodListed("GET") {
		return Skipped("", "the rule does not permit GET")
	}
	resp, err := w.exchange(ctx, "GET "+w.path()+" HTTP/1.1\r\n"+w.fields()+"\r\n")
	if err != nil {
		return Bad("", "no answer: "+err.Error(), "see whether a filter on the way cuts the connection")
	}
	w.readClock(resp.Header.Get("Date"))
	return Fine("", answered(resp))
}

func (w *way) fields() string {
	return "Host: " + w.t.dest.Host.String() + "\r\nUser-Agent: gatehouse-doctor\r\nAccept: */*\r\nConnection: close\r\n"
}

// post sends no content, and says so.
func (w *way) post(ctx context.Context) *Check {
	return w.posted(ctx, "POST "+w.path()+" HTTP/1.1\r\n"+w.fields()+"Content-Length: 0\r\n\r\n")
}

// chunked sends no content in chunked coding, which is what Service Bus agents
// need carried (RFC 9112, section 7.1).
func (w *way) chunked(ctx context.Context) *Check {
	return w.posted(ctx, "POST "+w.path()+" HTTP/1.1\r\n"+w.fields()+"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
}

func (w *way) posted(ctx context.Context, request string) *Check {
	if !w.methodListed("POST") {
		return Skipped("", "the rule does not permit POST")
	}
	resp, err := w.exchange(ctx, request)
	if err != nil {
		return Bad("", "no answer: "+err.Error(), "see whether a filter on the way cuts the connection")
	}
	switch resp.StatusCode {
	case http.StatusLengthRequired, http.StatusNotImplemented:
		return Bad("", answered(resp)+": "+hop(resp)+" does not take it", "a proxy on the way must let HTTP/1.1 through unchanged, or be gone round")
	}
	return Fine("", answered(resp))
}

// hop names who answered, as far as it says so.
func hop(resp *http.Response) string {
	for _, field := range []string{"Via", "Server"} {
		if v := resp.Header.Get(field); v != "" {
			return fmt.Sprintf("%q", v)
		}
	}
	return "whoever answered"
}

func answered(resp *http.Response) string { return fmt.Sprintf("answers %d", resp.StatusCode) }

// mostHead bounds what is read of an answer (octets).
const mostHead = 64 << 10

// exchange sends one request on a connection of its own, the first on the one
// that was opened already, and reads the head of its answer. What comes after it is
// nobody's concern here, and may come for ever: nothing of it is waited for.
func (w *way) exchange(ctx context.Context, request string) (*http.Response, error) {
	conn, err := w.line(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := io.WriteString(conn, request); err != nil {
		return nil, err
	}
	for in := bufio.NewReader(io.LimitReader(conn, mostHead)); ; {
		resp, err := http.ReadResponse(in, nil)
		if err != nil || resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			return resp, err
		} // an interim answer has no body, and another follows (RFC 9110, section 15.2)
	}
}

// line is a connection to ask on.
func (w *way) line(ctx context.Context) (net.Conn, error) {
	if w.conn == nil {
		if c := w.connect(ctx); c.State == Failed {
			return nil, fmt.Errorf("%s", c.Says)
		}
		if w.t.protocol == policy.TLS {
			if c := w.handshake(ctx); c.State == Failed {
				return nil, fmt.Errorf("%s", c.Says)
			}
		}
	}
	conn := w.conn
	if w.t.protocol == policy.TLS {
		conn = w.secure
	}
	w.conn, w.secure = nil, nil
	return conn, nil
}

// mostSkew is by how much a clock may be wrong: tokens of Service Bus and
// certificates are judged by it.
const mostSkew = 2 * time.Minute

// readClock holds the machine's clock against the Date that came back.
func (w *way) readClock(date string) {
	then, err := http.ParseTime(date)
	if err != nil {
		return
	}
	off := w.d.Now().Sub(then).Round(time.Second)
	w.d.mu.Lock()
	defer w.d.mu.Unlock()
	if w.d.clock == "" || off.Abs() < w.d.off.Abs() {
		w.d.off, w.d.clock = off, w.t.dest.Host.String()
	}
}

// clockCheck is what the answers said of the clock: of several origins the one
// that agrees best, for theirs may be wrong too. Nil where none said anything.
func (d *Doctor) clockCheck() *Check {
	switch {
	case d.clock == "":
		return nil
	case d.off.Abs() > mostSkew:
		return Bad("clock", fmt.Sprintf("this machine's clock is %s off that of %s", d.off, d.clock), "have it set by NTP: timedatectl set-ntp true")
	}
	return Fine("clock", "agrees with that of "+d.clock)
}
