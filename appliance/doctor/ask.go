package doctor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"gatehouse/policy"
)

// request is what is asked of a place: no content, ever.
type request struct {
	method string
	fields string // further ones, each with its line end
	// end closes the request; where there is one, it is kept back until an answer
	// has come, or for Options.Hold.
	end string
}

// answer is the head of what came back.
type answer struct {
	*http.Response               // the final one
	line           *Line         // it came by; closed
	interim        bool          // a 100 came before it
	held           bool          // nothing came before the request had ended
	first          time.Duration // from the request's head to the first answer
}

func (a *answer) words() string { return fmt.Sprintf("answers %d", a.StatusCode) }

// through names the parent proxy that was gone through.
func (a *answer) through() string {
	if a.line.Parent == "" {
		return ""
	}
	return "through the parent proxy " + a.line.Parent + ", "
}

// ms is a length of time for a person.
func ms(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }

// mostHead bounds what is read of an answer (octets).
const mostHead = 64 << 10

// ask sends one request on a connection of its own, the first on the one that was
// opened already, and reads the head of its answer. What comes after it is
// nobody's concern here, and may come for ever: nothing of it is waited for.
func (w *way) ask(ctx context.Context, r request) (*answer, error) {
	l, err := w.take(ctx)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	defer context.AfterFunc(ctx, func() { l.SetDeadline(time.Unix(1, 0)) })()
	return w.exchange(l, r)
}

// exchange asks on a line.
func (w *way) exchange(l *Line, r request) (*answer, error) {
	if _, err := io.WriteString(l, w.head(l, r)); err != nil {
		return nil, err
	}
	began := w.d.Now()
	ended := make(chan struct{})
	end := func() {
		defer close(ended)
		io.WriteString(l, r.end) // where it fails, reading fails too
	}
	stop := func() bool { return true }
	if r.end != "" {
		stop = w.d.AfterFunc(w.d.Hold, end)
	}
	a := &answer{line: l}
	for in, first := bufio.NewReader(io.LimitReader(l, mostHead)), true; ; first = false {
		resp, err := http.ReadResponse(in, nil)
		if first {
			a.first = w.d.Now().Sub(began)
			if a.held = !stop(); a.held {
				<-ended
			}
		}
		if err != nil {
			return nil, err
		}
		if resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			a.Response = resp
			return a, nil
		} // an interim answer has no body, and another follows (RFC 9110, section 15.2)
		if first && !a.held {
			a.interim = resp.StatusCode == http.StatusContinue
			end()
		}
	}
}

// head is a request's head, as the line wants it.
func (w *way) head(l *Line, r request) string {
	target, login := w.path(), ""
	if l.Absolute {
		target = "http://" + w.authority() + target
		if l.Login != "" {
			login = "Proxy-Authorization: " + l.Login + "\r\n"
		}
	}
	return r.method + " " + target + " HTTP/1.1\r\nHost: " + w.authority() +
		"\r\nUser-Agent: gatehouse-doctor\r\nAccept: */*\r\nConnection: close\r\n" + login + r.fields + "\r\n"
}

// authority is the host, and the port where it is not the scheme's own (RFC 9110,
// section 7.2).
func (w *way) authority() string {
	host, port := w.t.dest.Host.String(), w.t.dest.Port
	usual := uint16(80)
	if w.t.protocol == policy.TLS {
		usual = 443
	}
	switch {
	case port != usual:
		return net.JoinHostPort(host, strconv.Itoa(int(port)))
	case strings.Contains(host, ":"):
		return "[" + host + "]"
	}
	return host
}

// take is a line to ask on: the one that is open, or a new one.
func (w *way) take(ctx context.Context) (*Line, error) {
	if w.line == nil {
		if c := w.connect(ctx); c.State == Failed {
			return nil, errors.New(c.Says)
		}
		if w.t.protocol == policy.TLS {
			if c := w.handshake(ctx); c.State == Failed {
				w.line.Close()
				w.line = nil
				return nil, errors.New(c.Says)
			}
		}
	}
	l := w.line
	w.line = nil
	return l, nil
}
