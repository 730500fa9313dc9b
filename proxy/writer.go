package proxy

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"gatehouse/internal/flow"
)

var (
	errNoBody   = errors.New("the response has no body")
	errTooLong  = errors.New("the response body is longer than its Content-Length")
	errHijacked = errors.New("the connection was taken over")
)

// framing is how the end of a response body is told (RFC 9112, section 6.3).
type framing uint8

const (
	bodyless framing = iota
	byLength
	byChunks
	byClose
)

// responseWriter writes one response to the client, each piece as it comes:
// the head leaves before the body has begun, and each Write is on the wire when
// it returns. It adds no field that the origin did not send. Deliberately it is
// no io.ReaderFrom, which would let a copy collect bytes.
type responseWriter struct {
	e      *exchange
	header http.Header

	mu       sync.Mutex // 1xx heads come from another goroutine
	status   int        // of the final head; 0: not written yet
	framing  framing
	left     int64 // bytes to come, byLength
	closes   bool  // the connection ends with this response
	err      error // of the connection; sticky
	hijacked bool
	trailers []string // announced
}

func (w *responseWriter) Header() http.Header { return w.header }

// inform passes on a 1xx head; HTTP/1.0 does not know them.
func (w *responseWriter) inform(code int, header http.Header) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.status != 0 || w.e.head.minor == 0 {
		return w.err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", code, reasonPhrase(code))
	header.Write(&b)
	b.WriteString("\r\n")
	w.send(b.Bytes())
	return w.err
}

// WriteHeader implements http.ResponseWriter.
func (w *responseWriter) WriteHeader(code int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.status != 0 || w.hijacked {
		return
	}
	w.status = code
	w.e.passage.firstByte()
	w.e.passage.note(func(r *flow.Record) { r.Status = code })
	w.frame(code)
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.%d %d %s\r\n", w.e.head.minor, code, reasonPhrase(code))
	w.header.WriteSubset(&b, map[string]bool{"Connection": code != http.StatusSwitchingProtocols, "Transfer-Encoding": true, "Trailer": w.framing != byChunks})
	switch {
	case code == http.StatusSwitchingProtocols:
	case w.closes:
		b.WriteString("Connection: close\r\n")
	case w.e.head.minor == 0:
		b.WriteString("Connection: keep-alive\r\n")
	}
	if w.framing == byChunks {
		b.WriteString("Transfer-Encoding: chunked\r\n")
	}
	b.WriteString("\r\n")
	w.send(b.Bytes())
}

// frame chooses how the body will end.
func (w *responseWriter) frame(code int) {
	length, err := strconv.ParseInt(w.header.Get("Content-Length"), 10, 64)
	switch {
	case code == http.StatusSwitchingProtocols, code == http.StatusNoContent, code == http.StatusNotModified, w.e.head.method == http.MethodHead:
		w.framing = bodyless
	case err == nil && length >= 0:
		w.framing, w.left = byLength, length
	case w.e.head.minor == 0:
		w.framing, w.closes = byClose, true
	default:
		w.framing = byChunks
		w.trailers = w.header["Trailer"]
	}
	w.closes = w.closes || w.e.head.closes() || w.e.server.draining.Load()
}

func reasonPhrase(code int) string {
	if text := http.StatusText(code); text != "" {
		return text
	}
	return "Status" // some clients insist on a reason phrase
}

// Write implements io.Writer.
func (w *responseWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.hijacked:
		return 0, errHijacked
	case w.err != nil:
		return 0, w.err
	case len(p) == 0:
		return 0, nil
	case w.framing == bodyless:
		return 0, errNoBody
	case w.framing == byLength && int64(len(p)) > w.left:
		w.err = errTooLong
		return 0, w.err
	case w.framing == byChunks:
		w.sendChunk(p)
	default:
		w.left -= int64(len(p))
		w.send(p)
	}
	if w.err != nil {
		return 0, w.err
	}
	return len(p), nil
}

// Flush implements http.Flusher: there is nothing to flush but the head.
func (w *responseWriter) Flush() {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
}

func (w *responseWriter) send(p []byte) {
	if w.err == nil {
		w.limitStall()
		_, w.err = w.e.client.conn.Write(p)
	}
}

func (w *responseWriter) sendChunk(p []byte) {
	w.limitStall()
	pieces := net.Buffers{fmt.Appendf(nil, "%x\r\n", len(p)), p, []byte("\r\n")}
	if _, err := pieces.WriteTo(w.e.client.conn); err != nil {
		w.err = err
	}
}

// failed reports whether the client's connection is broken.
func (w *responseWriter) failed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err != nil && !errors.Is(w.err, errTooLong)
}

// limitStall gives up on a client that takes nothing for as long as an idle
// tunnel may live.
func (w *responseWriter) limitStall() {
	w.e.client.conn.SetWriteDeadline(time.Now().Add(w.e.server.config.TunnelIdle))
}

// finish ends the body and reports whether the client has got a whole response.
func (w *responseWriter) finish() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.err != nil || w.status == 0:
		return false
	case w.framing == byLength:
		return w.left == 0
	case w.framing == byChunks:
		var b bytes.Buffer
		b.WriteString("0\r\n")
		w.trailer().Write(&b)
		b.WriteString("\r\n")
		w.send(b.Bytes())
	}
	return w.err == nil
}

// trailer collects the trailer fields, by both conventions of net/http: names
// announced before the head, and http.TrailerPrefix.
func (w *responseWriter) trailer() http.Header {
	t := http.Header{}
	for name, values := range w.header {
		if name, ok := strings.CutPrefix(name, http.TrailerPrefix); ok && trailerMayCarry(name) {
			t[name] = values
		}
	}
	for _, announced := range w.trailers {
		for name := range strings.SplitSeq(announced, ",") {
			name = http.CanonicalHeaderKey(strings.TrimSpace(name))
			if values := w.header[name]; len(values) > 0 && trailerMayCarry(name) {
				t[name] = values
			}
		}
	}
	return t
}

// Hijack implements http.Hijacker. The connection it returns cannot be closed
// by whoever takes it: the gate closes it when the exchange is over, so that
// neither a last answer nor a WebSocket's end is lost. The reader replays bytes
// that came early.
func (w *responseWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.hijacked {
		return nil, nil, errHijacked
	}
	w.hijacked, w.closes = true, true
	c := w.e.client
	w.e.body.finish() // whoever takes over is the only one to read
	c.watch.stop(c.conn)
	c.conn.SetDeadline(time.Time{})
	lent := lentConn{c.conn}
	return lent, bufio.NewReadWriter(c.in, bufio.NewWriter(lent)), nil
}

// lentConn is a connection whose owner is somebody else.
type lentConn struct{ net.Conn }

func (lentConn) Close() error { return nil }

// bodyOf is a body made of bytes.
func bodyOf(b []byte) io.ReadCloser { return io.NopCloser(bytes.NewReader(b)) }
