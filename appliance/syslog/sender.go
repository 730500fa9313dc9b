package syslog

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// The first pause after a failure, which doubles up to the last.
	firstPause = time.Second
	lastPause  = time.Minute
	// steady is how long a connection must have held for its end to be no failure:
	// who hangs up at once does not want us (a certificate that it does not trust).
	steady = 10 * time.Second
	// dialTime and writeTime bound an attempt.
	dialTime  = 20 * time.Second
	writeTime = 10 * time.Second
	// partingTime is how long the last messages may take at the end, all of them.
	partingTime = time.Second
	// datagramLife is how long datagrams go to one address before the server's name
	// is asked for again: nobody says that it has moved.
	datagramLife = time.Hour
)

// Config is what a Sender is made from.
type Config struct {
	Server Server
	// Dial opens a connection to Server, with TLS where it has to be.
	Dial func(context.Context) (net.Conn, error)
	// Log is told when the server is away and when it is back; nil: nobody is.
	Log  *slog.Logger
	Now  func() time.Time                     // nil: time.Now
	Wait func(time.Duration) <-chan time.Time // nil: time.After
}

// Sender sends messages. One goroutine may write to it; whoever makes it calls
// Stop, so that nobody waits for a server any more, and then Close.
type Sender struct {
	Config // with its defaults filled in

	conn     *connection // owned by the writer, but for Stop
	mu       sync.Mutex  // of conn, between the writer and Stop
	frames   []byte
	pause    time.Duration // before the next attempt, should this one fail
	hasty    bool          // the server hung up at once, last time
	stopping chan struct{}
	parting  time.Time       // when all has to be over; set when stopping is closed
	life     context.Context // of attempts: it ends then
	end      context.CancelFunc
	lost     atomic.Uint64
	trouble  atomic.Pointer[error]
}

// New makes a Sender; it connects with the first message.
func New(c Config) *Sender {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Wait == nil {
		c.Wait = time.After
	}
	s := &Sender{Config: c, stopping: make(chan struct{})}
	s.life, s.end = context.WithCancel(context.Background())
	return s
}

// Lost is the number of messages that were too long for the way they had to go.
func (s *Sender) Lost() uint64 { return s.lost.Load() }

// Trouble is why the server cannot be reached now; nil: it can, as far as is known.
func (s *Sender) Trouble() error {
	if err := s.trouble.Load(); err != nil {
		return *err
	}
	return nil
}

// Write sends messages, each of which is a line. It waits while the server is away
// and tries again, less and less often; after Stop it tries once. The number is of
// the octets whose messages the kernel has taken: more than that no sender of
// syslog learns (RFC 5424, section 8.5).
func (s *Sender) Write(lines []byte) (sent int, err error) {
	for sent < len(lines) {
		last := s.stopped()
		n, err := s.try(lines[sent:])
		sent += n
		if err == nil {
			s.works()
			continue
		}
		if c := s.letGo(); c != nil {
			c.abandon()
		}
		s.fails(err)
		if last { // what is lost may itself be told of as a decision: that is not tried for ever
			s.end()
		}
		select {
		case <-s.stopping:
			return sent, err
		case <-s.Wait(s.pause):
		}
	}
	return sent, nil
}

// stopped reports whether Stop has been called.
func (s *Sender) stopped() bool {
	select {
	case <-s.stopping:
		return true
	default:
		return false
	}
}

// try sends what it can over the connection there is, or a new one.
func (s *Sender) try(lines []byte) (sent int, err error) {
	if err := s.connect(); err != nil {
		return 0, err
	}
	if s.Server.Way == UDP || s.Server.Way == Unix {
		return s.datagrams(lines)
	}
	return s.stream(lines)
}

// datagrams sends each message by itself, as it is (RFC 5426, section 3.1).
func (s *Sender) datagrams(lines []byte) (sent int, err error) {
	for message := range bytes.Lines(lines) {
		s.allow(writeTime)
		if _, err := s.conn.Write(bytes.TrimSuffix(message, []byte{'\n'})); errors.Is(err, syscall.EMSGSIZE) {
			s.lost.Add(1)
		} else if err != nil {
			return sent, err
		}
		sent += len(message)
	}
	return sent, nil
}

// stream sends messages in frames that say their length: "LENGTH SP MESSAGE" (RFC
// 5425, section 4.3). Of those whose frames the connection took in part only, none
// has arrived, and it is sent again over the next.
func (s *Sender) stream(lines []byte) (sent int, err error) {
	s.frames = s.frames[:0]
	for message := range bytes.Lines(lines) {
		message = bytes.TrimSuffix(message, []byte{'\n'})
		s.frames = strconv.AppendInt(s.frames, int64(len(message)), 10)
		s.frames = append(append(s.frames, ' '), message...)
	}
	s.allow(writeTime)
	taken, err := s.conn.Write(s.frames)
	if err == nil {
		return len(lines), nil
	}
	for message := range bytes.Lines(lines) {
		taken -= len(strconv.Itoa(len(message)-1)) + len(message) // its frame has a space for the line end
		if taken < 0 {
			break
		}
		sent += len(message)
	}
	return sent, err
}

// allow gives the connection time for a write; once it has to end, what is left.
func (s *Sender) allow(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	until := time.Now().Add(d)
	select {
	case <-s.stopping:
		until = s.parting
	default:
	}
	s.conn.SetWriteDeadline(until)
}

// connect sees to it that there is a connection that holds.
func (s *Sender) connect() error {
	if c := s.conn; c != nil {
		age := s.Now().Sub(c.since)
		select {
		case <-c.gone:
			s.hangUp()
			if s.hasty = age < steady; s.hasty {
				return c.why()
			}
		default:
			if age < datagramLife || s.Server.Way != UDP {
				return nil
			}
			s.hangUp()
		}
	}
	ctx, cancel := context.WithTimeout(s.life, dialTime)
	defer cancel()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	conn, err := s.Dial(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn = hold(conn, s.Now())
	return nil
}

func (s *Sender) hangUp() {
	if c := s.letGo(); c != nil {
		c.close()
	}
}

// letGo is the connection there was, if any. It is the caller's.
func (s *Sender) letGo() (c *connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, s.conn = s.conn, nil
	return c
}

// works notes that messages go out. Of a server that hung up at once last time
// that is not believed before its connection has held.
func (s *Sender) works() {
	held := s.Now().Sub(s.conn.since) >= steady
	if held {
		s.pause, s.hasty = 0, false
	}
	if s.trouble.Load() != nil && !s.hasty {
		s.Log.Warn("syslog: decisions reach the server again", "server", s.Server.String())
		s.trouble.Store(nil)
	}
}

// fails notes that they do not, and how long to wait.
func (s *Sender) fails(err error) {
	if s.trouble.Load() == nil {
		s.Log.Error("syslog: decisions do not reach the server; some wait, later ones are dropped and counted until it is back: "+
			"is it up, and does it take what log.syslog says?", "server", s.Server.String(), "err", err)
	}
	s.trouble.Store(&err)
	s.pause = min(max(2*s.pause, firstPause), lastPause)
}

// Stop has Write wait for nobody any more: not for a pause to end, and for a server
// that lets nobody in or takes nothing not for long. It may be called from anywhere,
// once.
func (s *Sender) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parting = time.Now().Add(partingTime)
	close(s.stopping)
	if s.conn != nil {
		s.conn.SetWriteDeadline(s.parting)
	}
	time.AfterFunc(partingTime, s.end)
}

// Close ends the connection; TLS says good-bye (RFC 5425, section 4.4). Nobody may
// write any more.
func (s *Sender) Close() error {
	s.end()
	s.hangUp()
	return nil
}

// connection is a connection that learns when the other side ends it: a server that
// is started anew would otherwise swallow the first messages without a word.
type connection struct {
	net.Conn
	since time.Time
	gone  chan struct{}
	err   error // why, once gone is closed
}

// hold reads until the other side ends the connection; close waits for it. Nothing
// comes from a syslog server, and what comes nevertheless is thrown away.
func hold(conn net.Conn, since time.Time) *connection {
	c := &connection{Conn: conn, since: since, gone: make(chan struct{})}
	go func() {
		defer close(c.gone)
		buf := make([]byte, 512)
		for c.err == nil {
			_, c.err = c.Conn.Read(buf)
		}
	}()
	return c
}

func (c *connection) why() error {
	switch {
	case errors.Is(c.err, io.EOF), errors.Is(c.err, os.ErrClosed):
		return errors.New("the server hung up at once")
	}
	return c.err
}

// abandon closes a connection that has failed: TLS says no good-bye, for which it
// would wait until there is room.
func (c *connection) abandon() {
	if secure, ok := c.Conn.(interface{ NetConn() net.Conn }); ok {
		secure.NetConn().Close()
	}
	c.close()
}

func (c *connection) close() {
	c.Conn.Close()
	<-c.gone
}
