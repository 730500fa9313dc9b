package keeper

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
)

func TestMain(m *testing.M) {
	if relay := os.Getenv("KEEPER_FAR_END"); relay != "" { // of a benchmark
		if err := farEnd(relay, os.Getenv("KEEPER_TUNNELS")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	nettest.Main(m)
}

// ends are the two far ends of a tunnel, and what came of it.
type ends struct {
	t              *testing.T
	keeper         *Keeper
	tunnel         *Tunnel
	client, origin *nettest.Peer
	results        chan Result
}

// way is one of the ways a tunnel is carried.
type way struct {
	name  string
	copy  bool // what is wrapped is no TCP connection any more, and is copied
	dials bool // the keeper reaches the origin itself
}

var kept = way{name: "kept"}

var ways = []way{
	kept,
	{name: "kept, dialled by the keeper", dials: true},
	{name: "copied", copy: true},
	{name: "copied, dialled by the keeper", copy: true, dials: true},
}

func (w way) wrap(c net.Conn) net.Conn {
	if w.copy {
		return wrapped{c}
	}
	return c
}

// tunnel makes a tunnel that is not open yet, and returns its far ends.
func (w way) tunnel(t testing.TB, k *Keeper, ln net.Listener, done func(Result)) (tunnel *Tunnel, client, origin *net.TCPConn) {
	t.Helper()
	fromClient, client := pair(t, ln)
	if !w.dials {
		toOrigin, origin := pair(t, ln)
		return k.Join(w.wrap(fromClient), w.wrap(toOrigin), done), client, origin
	}
	toOrigin, err := k.Dial(t.Context(), ln.Addr().(*net.TCPAddr).AddrPort(), nettest.Patience)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	require.NoError(t, err)
	accepted, err := ln.Accept()
	require.NoError(t, err)
	return k.JoinConn(w.wrap(fromClient), toOrigin, done), client, accepted.(*net.TCPConn)
}

type wrapped struct{ net.Conn }

func (w wrapped) NetConn() net.Conn { return w.Conn }

func (w wrapped) CloseWrite() error { return w.Conn.(*net.TCPConn).CloseWrite() }

// eachWay runs a test for every one of them.
func eachWay(t *testing.T, test func(t *testing.T, w way)) {
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) { test(t, w) })
	}
}

func newKeeper(t testing.TB, idle time.Duration) *Keeper {
	k := New(idle)
	t.Cleanup(func() { k.Close() })
	return k
}

// pair is a connection over loopback, both ends.
func pair(t testing.TB, ln net.Listener) (near, far *net.TCPConn) {
	t.Helper()
	dialled, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	accepted, err := ln.Accept()
	require.NoError(t, err)
	return accepted.(*net.TCPConn), dialled.(*net.TCPConn)
}

func loopback(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { ln.Close() })
	return ln
}

// join makes a tunnel that is not open yet.
func (w way) join(t *testing.T, k *Keeper) *ends {
	t.Helper()
	e := &ends{t: t, keeper: k, results: make(chan Result, 2)}
	tunnel, client, origin := w.tunnel(t, k, loopback(t), func(r Result) { e.results <- r })
	e.tunnel, e.client, e.origin = tunnel, nettest.NewPeer(t, client), nettest.NewPeer(t, origin)
	return e
}

// open makes a tunnel and opens it.
func (w way) open(t *testing.T, early string) *ends {
	t.Helper()
	e := w.join(t, newKeeper(t, time.Hour))
	e.tunnel.Open([]byte(early))
	return e
}

// result waits for the tunnel's end.
func (e *ends) result() Result {
	e.t.Helper()
	select {
	case r := <-e.results:
		return r
	case <-time.After(nettest.Patience):
		require.FailNow(e.t, "the tunnel did not end")
		return Result{}
	}
}

// broken waits until a peer sees a reset, and returns what came before.
func broken(t *testing.T, p *nettest.Peer) string {
	t.Helper()
	rest, err := p.Ended()
	require.Error(t, err, "the peer sees an orderly end")
	return rest
}

// whole waits until a peer sees an orderly end, and returns what came before.
func whole(t *testing.T, p *nettest.Peer) string {
	t.Helper()
	rest, err := p.Ended()
	require.NoError(t, err)
	return rest
}

func TestBytesPassBothWaysAtOnce(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		e := w.open(t, "early ")
		for range 3 {
			e.client.Say("ping")
			e.origin.Say("pong")
			e.client.Expect("pong")
		}
		e.origin.Expect("early pingpingping")
	})
}

func TestAHalfCloseIsPassedOn(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		t.Run("the client has said all, with bytes still on the way, and gets its answer", func(t *testing.T) {
			e := w.open(t, "early")
			said := strings.Repeat("question", 5000)
			e.client.Say("%s", said).CloseWrite()
			require.Equal(t, "early"+said, whole(t, e.origin))
			e.origin.Say("answer").Close()
			require.Equal(t, "answer", whole(t, e.client))
			require.Equal(t, Result{Sent: 5 + int64(len(said)), Received: 6, End: ClientClosed}, e.result())
		})
		t.Run("the origin has said all, and the client goes on", func(t *testing.T) {
			e := w.open(t, "")
			said := strings.Repeat("news", 10000)
			e.origin.Say("%s", said).CloseWrite()
			require.Equal(t, said, whole(t, e.client))
			e.client.Say("thanks").Close()
			require.Equal(t, "thanks", whole(t, e.origin))
			require.Equal(t, Result{Sent: 6, Received: int64(len(said)), End: OriginClosed}, e.result())
		})
		t.Run("both close without a word", func(t *testing.T) {
			e := w.open(t, "")
			e.client.CloseWrite()
			require.Empty(t, whole(t, e.origin))
			e.origin.Close()
			require.Empty(t, whole(t, e.client))
			require.Equal(t, Result{End: ClientClosed}, e.result())
		})
		t.Run("it was closed before the tunnel opened", func(t *testing.T) {
			e := w.join(t, newKeeper(t, 0))
			e.origin.Say("hello").CloseWrite()
			e.client.Say("bye").CloseWrite()
			e.tunnel.Open(nil)
			require.Equal(t, "bye", whole(t, e.origin))
			require.Equal(t, "hello", whole(t, e.client))
			r := e.result()
			require.False(t, r.Reset)
			require.EqualValues(t, 3, r.Sent)
			require.EqualValues(t, 5, r.Received)
		})
	})
}

func TestAResetIsPassedOnAsAReset(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		t.Run("the client's", func(t *testing.T) {
			e := w.open(t, "")
			e.client.Say("last")
			e.origin.Expect("last")
			e.client.Reset()
			require.Empty(t, broken(t, e.origin))
			require.Equal(t, Result{Sent: 4, End: ClientClosed, Reset: true}, e.result())
		})
		t.Run("the origin's", func(t *testing.T) {
			e := w.open(t, "")
			e.origin.Say("last")
			e.client.Expect("last")
			e.origin.Reset()
			require.Empty(t, broken(t, e.client))
			require.Equal(t, Result{Received: 4, End: OriginClosed, Reset: true}, e.result())
		})
		t.Run("one whose connection somebody has closed before the tunnel opened", func(t *testing.T) {
			e := w.join(t, newKeeper(t, 0))
			e.tunnel.client.conn.Close()
			e.tunnel.Open(nil)
			broken(t, e.origin)
			require.Equal(t, Result{End: ClientClosed, Reset: true}, e.result())
		})
		t.Run("the client's, sent before the tunnel opened", func(t *testing.T) {
			e := w.join(t, newKeeper(t, 0))
			e.client.Reset()
			e.tunnel.Open(nil)
			broken(t, e.origin)
			require.Equal(t, Result{End: ClientClosed, Reset: true}, e.result())
		})
	})
}

func TestATunnelIsCutFromOutside(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		for name, when := range map[string]func(e *ends){
			"while it is idle":                 func(e *ends) { e.tunnel.Open(nil) },
			"before it was opened":             func(e *ends) { e.tunnel.Close(); e.tunnel.Open([]byte("early")) },
			"by closing its keeper":            func(e *ends) { e.tunnel.Open(nil); e.keeper.Close() },
			"for it came after the keeper":     func(e *ends) { e.keeper.Close(); e.tunnel.Open(nil) },
			"after one side had said all":      func(e *ends) { e.client.CloseWrite(); e.tunnel.Open(nil); whole(e.t, e.origin) },
			"after the client's bytes arrived": func(e *ends) { e.tunnel.Open(nil); e.client.Say("x"); e.origin.Expect("x") },
		} {
			t.Run(name, func(t *testing.T) {
				e := w.join(t, newKeeper(t, 0))
				when(e)
				e.tunnel.Close()
				e.tunnel.Close()
				broken(t, e.client)
				r := e.result()
				require.Equal(t, Cut, r.End)
				require.True(t, r.Reset)
				require.Empty(t, e.results, "done was called twice")
			})
		}
	})
}

func TestAnIdleTunnelIsReset(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		t.Run("by the clock", func(t *testing.T) {
			e := w.open(t, "early")
			e.origin.Expect("early")
			now := e.keeper.now()
			e.keeper.sweep(now + 59*time.Minute)
			e.client.Say("still")
			e.origin.Expect("still").Say("here")
			e.client.Expect("here")
			e.keeper.sweep(now + 61*time.Minute)
			broken(t, e.client)
			broken(t, e.origin)
			require.Equal(t, Result{Sent: 10, Received: 4, End: Idle, Reset: true}, e.result())
		})
		t.Run("although one side had said all", func(t *testing.T) {
			e := w.open(t, "")
			e.client.CloseWrite()
			require.Empty(t, whole(t, e.origin))
			e.keeper.sweep(e.keeper.now() + 2*time.Hour)
			require.Equal(t, Idle, e.result().End)
			broken(t, e.client)
		})
		t.Run("without anybody asking", func(t *testing.T) {
			e := w.join(t, newKeeper(t, 50*time.Millisecond))
			e.tunnel.Open(nil)
			require.Equal(t, Idle, e.result().End)
		})
	})
}

func TestOneMovingDirectionKeepsBothAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := New(time.Hour)
		defer k.Close()
		client, fromClient := net.Pipe()
		toOrigin, origin := net.Pipe()
		results := make(chan Result, 1)
		k.Join(fromClient, toOrigin, func(r Result) { results <- r }).Open(nil)
		began := time.Now()
		for range 10 {
			time.Sleep(50 * time.Minute) // the bubble's clock, not ours
			go origin.Write([]byte("x"))
			_, err := io.ReadFull(client, make([]byte, 1))
			require.NoError(t, err)
		}
		r := <-results
		require.Equal(t, Result{Received: 10, End: Idle, Reset: true}, r)
		silent := time.Since(began) - 500*time.Minute
		require.GreaterOrEqual(t, silent, time.Hour)
		require.LessOrEqual(t, silent, time.Hour+15*time.Second)
	})
}

func TestOpenAndCloseFromManyGoroutines(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		k := newKeeper(t, 0)
		ln := loopback(t)
		var told, cutting sync.WaitGroup
		for range 100 {
			told.Add(1)
			tunnel, far, far2 := w.tunnel(t, k, ln, func(Result) { told.Done() })
			cutting.Go(func() { tunnel.Open([]byte("early")) })
			cutting.Go(func() { tunnel.Close() })
			cutting.Go(func() { far.Close(); far2.Close() })
		}
		cutting.Wait()
		told.Wait()
		require.Empty(t, k.tunnels)
	})
}
