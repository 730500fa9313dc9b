package syslog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gosyslog "github.com/leodido/go-syslog/v4"
	"github.com/leodido/go-syslog/v4/octetcounting"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
)

func TestMain(m *testing.M) { nettest.Main(m) }

// message is a message of RFC 5424 that tells its number.
func message(i int) string { return fmt.Sprintf("<134>1 - - gatehouse - - - %d", i) }

func messages(from, to int) []byte {
	var text []byte
	for i := from; i < to; i++ {
		text = append(append(text, message(i)...), '\n')
	}
	return text
}

// said is a log that a test reads while it is written.
type said struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *said) count(part string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Count(s.b.String(), part)
}

// bench is a Sender whose pauses a test ends.
type bench struct {
	*Sender
	said  said
	waits chan time.Duration // each pause that begins
	end   chan time.Time     // ends one
	ahead time.Duration      // of the clock
}

func newBench(t *testing.T, way Way, dial func(context.Context) (net.Conn, error)) *bench {
	b := &bench{waits: make(chan time.Duration), end: make(chan time.Time)}
	b.Sender = New(Config{Server: Server{Way: way}, Dial: dial, Log: slog.New(slog.NewTextHandler(&b.said, nil)),
		Now:  func() time.Time { return time.Now().Add(b.ahead) },
		Wait: func(d time.Duration) <-chan time.Time { b.waits <- d; return b.end }})
	t.Cleanup(func() { b.Close() })
	return b
}

// to dials one address.
func to(network, address string) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, address)
	}
}

// writing writes in the background and gives what came of it.
func (b *bench) writing(lines []byte) <-chan error {
	done := make(chan error, 1)
	go func() { _, err := b.Write(lines); done <- err }()
	return done
}

func listen(t *testing.T) net.Listener {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { ln.Close() })
	return ln
}

func accept(t *testing.T, ln net.Listener) net.Conn {
	conn, err := ln.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(nettest.Patience)))
	return conn
}

func frame(i int) string { return fmt.Sprintf("%d %s", len(message(i)), message(i)) }

func expect(t *testing.T, r io.Reader, want string) {
	got := make([]byte, len(want))
	_, err := io.ReadFull(r, got)
	require.NoError(t, err, "%q", got)
	require.Equal(t, want, string(got))
}

func TestMessagesGoInFramesThatSayTheirLength(t *testing.T) {
	ln := listen(t)
	b := newBench(t, TCP, to("tcp", ln.Addr().String()))
	done := b.writing(messages(0, 3))
	conn := accept(t, ln)
	expect(t, conn, frame(0)+frame(1)+frame(2))
	require.NoError(t, <-done)

	done = b.writing(messages(3, 5))
	require.NoError(t, <-done)
	require.NoError(t, b.Close())
	got := 0
	octetcounting.NewParser(gosyslog.WithListener(func(r *gosyslog.Result) {
		if r.Error == nil && r.Message.Valid() {
			got++
		}
	})).Parse(conn)
	require.Equal(t, 2, got, "a parser that others wrote reads the frames until the connection ends")
}

func TestMessagesGoAsDatagramsOfTheirOwn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	for way, address := range map[Way]string{UDP: "127.0.0.1:0", Unix: path} {
		t.Run(string(way), func(t *testing.T) {
			network := map[Way]string{UDP: "udp", Unix: "unixgram"}[way]
			server, err := net.ListenPacket(network, address)
			require.NoError(t, err)
			defer server.Close()
			require.NoError(t, server.SetDeadline(time.Now().Add(nettest.Patience)))
			b := newBench(t, way, to(network, server.LocalAddr().String()))
			require.NoError(t, <-b.writing(messages(0, 3)))
			buf := make([]byte, 9000)
			for i := range 3 {
				n, _, err := server.ReadFrom(buf)
				require.NoError(t, err)
				require.Equal(t, message(i), string(buf[:n]), "without a line end")
			}
			long := append(bytes.Repeat([]byte{'x'}, 4<<20), '\n')
			n, err := b.Write(append(long, messages(3, 4)...))
			require.NoError(t, err)
			require.Equal(t, len(long)+len(messages(3, 4)), n)
			require.Equal(t, uint64(1), b.Lost(), "longer than any datagram")
			n, _, err = server.ReadFrom(buf)
			require.NoError(t, err)
			require.Equal(t, message(3), string(buf[:n]), "and the next is none the worse")
		})
	}
}

func TestAServerThatIsAwayIsAskedLessAndLessOftenAndToldOfOnce(t *testing.T) {
	ln := listen(t)
	var up atomic.Bool
	b := newBench(t, TCP, func(ctx context.Context) (net.Conn, error) {
		if !up.Load() {
			return nil, errors.New("connection refused")
		}
		return to("tcp", ln.Addr().String())(ctx)
	})
	done := b.writing(messages(0, 2))
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60} {
		require.Equal(t, want*time.Second, <-b.waits)
		require.ErrorContains(t, b.Trouble(), "connection refused")
		up.Store(want == 60)
		b.end <- time.Time{}
	}
	expect(t, accept(t, ln), frame(0)+frame(1))
	require.NoError(t, <-done)
	require.NoError(t, b.Trouble())
	require.Equal(t, 1, b.said.count("do not reach the server"))
	require.Equal(t, 1, b.said.count("reach the server again"))
}

func TestAServerThatWasStartedAnewLosesNothing(t *testing.T) {
	ln := listen(t)
	b := newBench(t, TCP, to("tcp", ln.Addr().String()))
	done := b.writing(messages(0, 1))
	conn := accept(t, ln)
	expect(t, conn, frame(0))
	require.NoError(t, <-done)
	b.ahead = time.Hour // the connection has held for long
	require.NoError(t, conn.Close())
	<-b.conn.gone
	done = b.writing(messages(1, 2))
	expect(t, accept(t, ln), frame(1))
	require.NoError(t, <-done, "without a pause")
	require.Zero(t, b.said.count("server"))
}

func TestAServerThatHangsUpAtOnceIsNotAskedAgainAtOnce(t *testing.T) {
	ln := listen(t)
	b := newBench(t, TLS, to("tcp", ln.Addr().String()))
	for i := range 2 { // as who does not trust our certificate does, in TLS 1.3
		done := b.writing(messages(i, i+1))
		if i > 0 { // the end of the first connection is seen
			require.Equal(t, time.Second, <-b.waits)
			require.ErrorContains(t, b.Trouble(), "hung up at once")
			b.end <- time.Time{}
		}
		conn := accept(t, ln)
		expect(t, conn, frame(i))
		require.NoError(t, <-done)
		require.NoError(t, conn.Close())
		<-b.conn.gone
	}
	require.ErrorContains(t, b.Trouble(), "hung up at once", "that a message could be sent proves nothing")
	require.Equal(t, 1, b.said.count("do not reach the server"))
	require.Zero(t, b.said.count("again"))
}

// short is a connection that takes so many octets and breaks.
type short struct {
	net.Conn
	room int
}

func (s *short) Write(p []byte) (int, error) {
	n := min(len(p), s.room)
	s.room -= n
	if n < len(p) {
		return n, errors.New("connection reset by peer")
	}
	return n, nil
}

func TestWhatAConnectionTookInPartOnlyIsSentAgain(t *testing.T) {
	whole := frame(0) + frame(1) + frame(2)
	for room := range len(whole) {
		near, far := net.Pipe()
		defer far.Close()
		ln := listen(t)
		dials := 0
		b := newBench(t, TCP, func(ctx context.Context) (net.Conn, error) {
			if dials++; dials == 1 {
				return &short{near, room}, nil
			}
			return to("tcp", ln.Addr().String())(ctx)
		})
		done := b.writing(messages(0, 3))
		<-b.waits
		b.end <- time.Time{}
		want := ""
		for i := range 3 {
			if len(frame(0))*(i+1) > room {
				want += frame(i)
			}
		}
		conn := accept(t, ln)
		expect(t, conn, want)
		require.NoError(t, <-done)
		require.NoError(t, b.Close())
		_, err := conn.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF, "nothing twice that had been taken whole")
	}
}

func TestNobodyWaitsForAServerOnceTheGateStops(t *testing.T) {
	b := newBench(t, TCP, func(context.Context) (net.Conn, error) { return nil, os.ErrNotExist })
	done := b.writing(messages(0, 9))
	<-b.waits
	b.Stop()
	require.ErrorIs(t, <-done, os.ErrNotExist)
	go func() { <-b.waits }() // a pause that begins is over at once
	n, err := b.Write(messages(9, 12))
	require.ErrorIs(t, err, os.ErrNotExist)
	require.Zero(t, n)
}

func TestAServerThatTakesNothingHoldsUpNoEnd(t *testing.T) {
	near, far := net.Pipe() // nobody reads
	defer far.Close()
	b := newBench(t, TCP, func(context.Context) (net.Conn, error) { return near, nil })
	done := b.writing(messages(0, 9))
	_, err := far.Read(make([]byte, 1)) // the write has begun
	require.NoError(t, err)
	go func() { <-b.waits }()
	b.Stop()
	require.ErrorIs(t, <-done, os.ErrDeadlineExceeded)
}

// An attempt that fails is a decision, too, which comes back as a message: each would
// bring about the next until the gate has ended.
func TestAServerThatIsAwayIsTriedOnceAtTheEnd(t *testing.T) {
	dials := 0
	b := newBench(t, TCP, func(context.Context) (net.Conn, error) { dials++; return nil, os.ErrNotExist })
	b.Stop()
	for range 3 {
		go func() { <-b.waits }()
		_, err := b.Write(messages(0, 1))
		require.Error(t, err)
	}
	require.Equal(t, 1, dials)
}

// A server that takes the connection and says nothing is waited for while TLS is begun.
func TestAServerThatLetsNobodyInHoldsUpNoEnd(t *testing.T) {
	begun := make(chan struct{}, 1)
	b := newBench(t, TLS, func(ctx context.Context) (net.Conn, error) {
		begun <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	})
	done := b.writing(messages(0, 9))
	<-begun
	go func() { <-b.waits }()
	b.Stop()
	require.ErrorIs(t, <-done, context.Canceled, "not the time of an attempt, which is longer")
	go func() { <-b.waits }()
	_, err := b.Write(messages(9, 12))
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, begun, "it is not asked again")
}

// farewells is TLS that counts whether it is asked to say good-bye.
type farewells struct {
	net.Conn
	raw *raw
}

func (f farewells) NetConn() net.Conn { return f.raw }

func (f farewells) Close() error {
	if !f.raw.closed {
		f.raw.waited = true
	}
	return f.raw.Close()
}

// raw is what TLS is spoken over.
type raw struct {
	net.Conn
	closed, waited bool
}

func (r *raw) Close() error {
	r.closed = true
	return r.Conn.Close()
}

func TestNoGoodByeIsSaidToWhoTakesNothing(t *testing.T) {
	for what, failing := range map[string]bool{"a server that failed": true, "a server that takes all": false} {
		t.Run(what, func(t *testing.T) {
			near, far := net.Pipe()
			defer far.Close()
			conn := &raw{Conn: near}
			b := newBench(t, TLS, func(context.Context) (net.Conn, error) { return farewells{near, conn}, nil })
			done := b.writing(messages(0, 1))
			if failing {
				_, err := far.Read(make([]byte, 1)) // the write has begun
				require.NoError(t, err)
				go func() { <-b.waits }()
				b.Stop()
				require.ErrorIs(t, <-done, os.ErrDeadlineExceeded)
			} else {
				expect(t, far, frame(0))
				require.NoError(t, <-done)
			}
			require.NoError(t, b.Close())
			require.True(t, conn.closed)
			require.Equal(t, !failing, conn.waited)
		})
	}
}

func TestAServersNameIsAskedForAgainWhereDatagramsTellNothing(t *testing.T) {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer server.Close()
	dials := 0
	b := newBench(t, UDP, func(ctx context.Context) (net.Conn, error) {
		dials++
		return to("udp", server.LocalAddr().String())(ctx)
	})
	for want, ahead := range []time.Duration{0, 59 * time.Minute, 61 * time.Minute} {
		b.ahead = ahead
		_, err := b.Write(messages(0, 1))
		require.NoError(t, err)
		require.Equal(t, max(1, want), dials)
	}
}
