package proxy

import (
	"bufio"
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"gatehouse/internal/nowait"
)

// bufferSize is the size of the buffers for reading: a head or a body's piece.
const bufferSize = 16 << 10

// wire is a connection, read through a buffer that it holds only while there is
// something in it: whoever waits on a bare TCP connection, for a day maybe, holds
// none. One goroutine at a time may read, and another one write.
type wire struct {
	conn net.Conn
	raw  syscall.RawConn // nil where the connection is no bare TCP connection

	buf  []byte // nil: nothing is held
	r, w int    // what is in buf and was not taken yet
	got  int    // by the last call of pull
	fail syscall.Errno

	words   []byte // what push has still to write
	refused syscall.Errno

	waits  mark // for the peer to send
	stalls mark // for it to take something

	pull, push func(fd uintptr) (done bool) // made once: a closure for each call would cost more than it saves
}

// attach makes a new wire of a connection.
func (w *wire) attach(conn net.Conn) {
	w.conn = conn
	if tcp, ok := conn.(*net.TCPConn); ok {
		w.raw, _ = tcp.SyscallConn() // fails for a nil connection alone
		w.pull, w.push = w.readNow, w.writeNow
	}
}

// Buffered is how many bytes can be had without waiting.
func (w *wire) Buffered() int { return w.w - w.r }

// pending is what has come and was not taken yet; good until the next reading.
func (w *wire) pending() []byte { return w.buf[w.r:w.w] }

// Discard takes n bytes of what is buffered.
func (w *wire) Discard(n int) { w.r += n }

// Peek waits until n bytes are there, and leaves them. They are good until the next
// reading. There are fewer with the error that came in between; more than the
// buffer holds is bufio.ErrBufferFull.
func (w *wire) Peek(n int) ([]byte, error) {
	for w.Buffered() < n {
		if w.Buffered() == bufferSize {
			return w.pending(), bufio.ErrBufferFull
		}
		if err := w.fill(); err != nil {
			return w.pending(), err
		}
	}
	return w.buf[w.r : w.r+n], nil
}

// Read implements io.Reader.
func (w *wire) Read(p []byte) (int, error) {
	if w.Buffered() == 0 {
		if len(p) == 0 {
			return 0, nil
		}
		if err := w.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, w.pending())
	w.Discard(n)
	return n, nil
}

// fill waits for more bytes. There is room for them.
func (w *wire) fill() error {
	switch {
	case w.r == w.w:
		w.r, w.w = 0, 0
	case w.w == len(w.buf):
		w.w = copy(w.buf, w.pending())
		w.r = 0
	}
	defer w.waits.end()
	if w.raw == nil {
		w.hold()
		w.waits.begin()
		n, err := w.conn.Read(w.buf[w.w:])
		w.w += n
		if n > 0 {
			return nil
		}
		w.rest()
		return err
	}
	if err := w.raw.Read(w.pull); err != nil {
		w.rest()
		return err
	}
	switch {
	case w.fail != 0:
		w.rest()
		return w.opError("read", w.fail)
	case w.got == 0:
		w.rest()
		return io.EOF
	}
	w.w += w.got
	return nil
}

// readNow is called with the non-blocking descriptor, again when it can be read.
func (w *wire) readNow(fd uintptr) (done bool) {
	w.hold()
	w.got, w.fail = nowait.Read(fd, w.buf[w.w:])
	if w.fail == syscall.EAGAIN {
		w.rest()
		w.waits.begin()
		return false
	}
	return true
}

// write writes all of p.
func (w *wire) write(p []byte) error {
	if w.raw == nil {
		w.stalls.begin()
		_, err := w.conn.Write(p)
		w.stalls.end()
		return err
	}
	w.words, w.refused = p, 0
	err := w.raw.Write(w.push)
	w.words = nil
	w.stalls.end()
	if w.refused != 0 {
		return w.opError("write", w.refused)
	}
	return err
}

// writeNow is called with the non-blocking descriptor, again when there is room.
func (w *wire) writeNow(fd uintptr) (done bool) {
	for len(w.words) > 0 {
		n, errno := nowait.Write(fd, w.words)
		switch w.words = w.words[n:]; {
		case errno == syscall.EAGAIN:
			w.stalls.begin() // anew, where some of it went: the peer is slow and not dead
			return false
		case errno != 0:
			w.refused = errno
			return true
		}
	}
	return true
}

func (w *wire) opError(op string, errno syscall.Errno) error {
	return &net.OpError{Op: op, Net: "tcp", Addr: w.conn.RemoteAddr(), Err: os.NewSyscallError(op, errno)}
}

// buffers are those that nobody holds.
var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// hold sees to it that there is a buffer.
func (w *wire) hold() {
	if w.buf == nil {
		w.buf = buffers.Get().(*[bufferSize]byte)[:]
	}
}

// rest gives the buffer back if there is nothing in it. No other goroutine may be
// reading.
func (w *wire) rest() {
	if w.buf == nil || w.Buffered() > 0 {
		return
	}
	w.drop()
}

// drop gives the buffer back with what is in it.
func (w *wire) drop() {
	if w.buf == nil {
		return
	}
	if poisonHeads {
		fill(w.buf)
	}
	buffers.Put((*[bufferSize]byte)(w.buf))
	w.buf, w.r, w.w = nil, 0, 0
}
