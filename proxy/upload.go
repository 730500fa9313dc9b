package proxy

import (
	"io"
	"sync/atomic"
	"time"

	"gatehouse/internal/http1"
	"gatehouse/policy"
)

// upload hands a request's body on as it comes, unchanged, while its framing is
// checked. What came together with the head goes on together with the head; only
// what is still to come has a goroutine. Nil is a request without a body.
type upload struct {
	client *clientConn
	link   *link

	chunked bool
	left    int64 // bytes to come, where the length is known
	chunks  chunkedBody
	octets  atomic.Int64 // of content so far

	whole   atomic.Bool                    // all of it came, was well-formed, and was or is being handed on
	failure atomic.Pointer[error]          // why it never will
	done    chan struct{}                  // closed when the goroutine has ended; nil where there is none
	parts   *parts                         // nil where nobody tells them apart
	most    int64                          // octets of content that may come; published requests alone
	tooMuch func(octets int64) error       // asked of one that has more; nil: any may come
	judged  atomic.Pointer[policy.Verdict] // of them, where it is not that they pass
	listens *atomic.Bool                   // cleared when nobody reads from the client any more
}

func newUpload(e *exchange) *upload {
	if !e.head.hasBody() {
		return nil
	}
	u := &upload{client: e.client, listens: &e.listens, chunked: e.head.Body.Kind == http1.Chunked, left: e.head.Body.Length}
	u.chunks.Limits.HeadBytes = e.server.config.HeaderBytes
	u.judgesParts(e)
	u.judgesSize(e)
	return u
}

// take checks the next piece. n bytes of it belong to the body, and pass is what
// may go on now.
func (u *upload) take(piece []byte) (n int, pass []byte, err error) {
	if u.parts == nil && u.tooMuch == nil {
		return u.frame(piece, nil)
	}
	var content func([]byte) error
	if u.parts != nil {
		content = u.content
	}
	n, pass, err = u.frame(piece, content)
	if err == nil && u.parts != nil && u.whole.Load() {
		err = u.ends()
	}
	if octets := u.octets.Load(); err == nil && u.tooMuch != nil && octets > u.most {
		err = u.tooMuch(octets)
	}
	if err != nil {
		u.whole.Store(false)
		return n, nil, err
	}
	return n, pass, nil
}

// frame checks the framing of the next piece, and shows its content.
func (u *upload) frame(piece []byte, content func([]byte) error) (n int, pass []byte, err error) {
	if !u.chunked {
		n = int(min(u.left, int64(len(piece))))
		u.left -= int64(n)
		u.octets.Add(int64(n))
		u.whole.Store(u.left == 0)
		if content != nil {
			err = content(piece[:n])
		}
		return n, piece[:n], err
	}
	n, pass, err = u.chunks.take(piece, content)
	u.octets.Store(u.chunks.Data())
	u.whole.Store(err == nil && u.chunks.Done())
	return n, pass, err
}

// bears is how long a silence on both sides is borne while the body is on its way.
// A length is a promise of so many bytes; chunks come when there is something to
// say.
func (u *upload) bears() time.Duration {
	if u.chunked {
		return u.client.server.config.TunnelIdle
	}
	return u.client.server.config.Stall
}

// run hands on what comes after the first piece.
func (u *upload) run() {
	defer close(u.done)
	defer u.listens.Store(false)
	defer u.guard()
	in := u.client.in
	for !u.whole.Load() {
		if _, err := in.Peek(1); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			u.fail(err)
			return
		}
		piece := in.pending()
		n, pass, err := u.take(piece)
		if len(pass) > 0 && u.link.in.write(pass) != nil {
			u.whole.Store(false) // what the origin did not take is a body still, and no next request
			return               // the origin may still have something to say
		}
		in.Discard(n)
		if err != nil {
			u.fail(err)
			return
		}
	}
}

// fail remembers why the body will never be whole, and breaks the origin's
// connection, so that it does not look so.
func (u *upload) fail(err error) {
	u.failure.Store(&err)
	resetConn(u.link.conn)
}

func (u *upload) guard() {
	if fault := recover(); fault != nil {
		u.client.server.logPanic("upload", fault)
		u.fail(io.ErrUnexpectedEOF)
	}
}

// trouble is why the body cannot be whole, nil where it is or may still be.
func (u *upload) trouble() error {
	if u == nil {
		return nil
	}
	if err := u.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// stop ends the upload and reports whether the origin got all of it. Where not,
// its connection is broken by then.
func (u *upload) stop() bool {
	if u == nil || u.done == nil {
		return u == nil || u.whole.Load() && u.trouble() == nil
	}
	if u.whole.Load() { // only the last write can be under way; most often it is over
		select {
		case <-u.done:
			return u.whole.Load() && u.trouble() == nil
		case <-time.After(time.Second):
		}
	}
	resetConn(u.link.conn)
	u.client.conn.SetReadDeadline(aLongTimeAgo)
	<-u.done
	u.client.conn.SetReadDeadline(time.Time{})
	return false
}

// sent is how many octets of content have come so far.
func (u *upload) sent() int64 {
	if u == nil {
		return 0
	}
	return u.octets.Load()
}
