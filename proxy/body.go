package proxy

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/internal/http1"
)

var (
	errBodyClosed = errors.New("the request body was closed")
	errBadTrailer = errors.New("the request has a malformed trailer section")
)

// requestBody hands a client's body on as it comes. Unlike net/http's it never
// answers Expect: 100-continue by itself, and closing it does not read it to its
// end: both would speak for the origin.
type requestBody struct {
	conn    *clientConn
	trailer http.Header // filled in when the body has ended
	limit   int         // bytes of the trailer section
	ended   func()      // called once the whole body has come

	reading sync.Mutex // held during a Read
	src     io.Reader
	left    int64 // bytes to come; -1: chunked
	err     error // sticky
	closed  atomic.Bool
	octets  atomic.Int64 // of content so far
}

// newRequestBody makes the body that follows head h, nil where none does.
func newRequestBody(c *clientConn, h *requestHead, trailer http.Header, ended func()) *requestBody {
	b := &requestBody{conn: c, trailer: trailer, limit: c.server.config.HeaderBytes, ended: ended, left: h.Body.Length}
	switch {
	case !h.hasBody():
		return nil
	case h.Body.Kind == http1.Chunked:
		b.src, b.left = httputil.NewChunkedReader(c.in), -1
	default:
		b.src = io.LimitReader(c.in, h.Body.Length)
	}
	return b
}

// Read implements io.Reader. A body that breaks off, or is badly chunked, ends
// in an error that is not io.EOF, so that it never looks complete to the origin.
func (b *requestBody) Read(p []byte) (int, error) {
	b.reading.Lock()
	defer b.reading.Unlock()
	switch {
	case b.err != nil:
		return 0, b.err
	case b.closed.Load():
		return 0, errBodyClosed
	}
	n, err := b.src.Read(p)
	b.octets.Add(int64(n))
	if b.left > 0 {
		b.left -= int64(n)
	}
	switch {
	case b.left == 0:
		err = io.EOF
	case err == io.EOF && b.left > 0:
		err = io.ErrUnexpectedEOF
	case err == io.EOF:
		err = b.readTrailer()
	}
	if b.err = err; err == io.EOF {
		b.ended()
	}
	return n, err
}

// readTrailer reads the trailer section after the last chunk (RFC 9112, section
// 7.1.2). It returns io.EOF where all is well.
func (b *requestBody) readTrailer() error {
	raw, err := readTrailerSection(b.conn.in, b.limit)
	if err != nil {
		return err
	}
	section := http1.ChunkReader{Limits: http1.Limits{HeadBytes: b.limit}}
	if _, err := section.Check([]byte("0\r\n" + strings.Join(raw, "\r\n") + "\r\n\r\n")); err != nil {
		return err
	}
	for _, line := range raw {
		name, value, _ := strings.Cut(line, ":")
		name = textproto.CanonicalMIMEHeaderKey(name)
		b.trailer[name] = append(b.trailer[name], strings.Trim(value, " \t"))
	}
	return io.EOF
}

// readTrailerSection reads lines up to and including the empty one.
func readTrailerSection(in *bufio.Reader, limit int) (lines []string, err error) {
	for {
		line, err := in.ReadSlice('\n')
		switch {
		case err == io.EOF:
			return nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, err
		case len(line) < 2 || line[len(line)-2] != '\r':
			return nil, errBadTrailer
		case len(line) == 2:
			return lines, nil
		}
		if limit -= len(line); limit < 0 {
			return nil, errBadTrailer
		}
		lines = append(lines, string(line[:len(line)-2]))
	}
}

// trailerMayCarry reports whether a trailer may carry a field: none that frames,
// routes or authorises a message, or is for this hop alone (RFC 9110, section
// 6.5.1).
func trailerMayCarry(name string) bool {
	switch name {
	case "Content-Length", "Transfer-Encoding", "Host", "Content-Type", "Content-Encoding", "Content-Range",
		"Trailer", "Authorization", "Expect", "Cache-Control", "Max-Forwards", "Via", "Set-Cookie":
		return false
	}
	return !hopByHop(name)
}

// Close implements io.Closer. It does not wait for a Read.
func (b *requestBody) Close() error {
	b.closed.Store(true)
	return nil
}

// finish ends all reading and reports whether the whole body has come.
func (b *requestBody) finish() bool {
	if b == nil {
		return true
	}
	b.closed.Store(true)
	if !b.reading.TryLock() {
		b.conn.conn.SetReadDeadline(time.Unix(1, 0))
		b.reading.Lock()
		b.conn.conn.SetReadDeadline(time.Time{})
	}
	defer b.reading.Unlock()
	return b.err == io.EOF
}

// trouble is why the body cannot be read on, nil where it came whole or may
// still come.
func (b *requestBody) trouble() error {
	if b == nil || !b.reading.TryLock() {
		return nil
	}
	defer b.reading.Unlock()
	if b.err == io.EOF {
		return nil
	}
	return b.err
}

// sent is how many octets of content have come so far.
func (b *requestBody) sent() int64 {
	if b == nil {
		return 0
	}
	return b.octets.Load()
}
