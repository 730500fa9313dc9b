package keeper

import (
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
)

const bulk = 64 << 20

// noise is a stream of bytes that a seed decides.
func noise(seed byte, size int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{seed}), size)
}

func sumOf(t *testing.T, r io.Reader) (sum [32]byte) {
	h := sha256.New()
	_, err := io.Copy(h, r)
	require.NoError(t, err)
	return [32]byte(h.Sum(nil))
}

func TestBulkPassesWholeBothWaysAtOnce(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		e := w.open(t, "")
		var moving sync.WaitGroup
		var up, down [32]byte
		talk := func(p *nettest.Peer, seed byte, sum *[32]byte) {
			p.SetDeadline(time.Now().Add(3 * nettest.Patience))
			moving.Go(func() {
				io.Copy(p.Conn, noise(seed, bulk))
				p.Conn.(*net.TCPConn).CloseWrite()
			})
			moving.Go(func() { *sum = sumOf(t, p.In) })
		}
		talk(e.client, 1, &down)
		talk(e.origin, 2, &up)
		moving.Wait()
		require.Equal(t, sumOf(t, noise(1, bulk)), up)
		require.Equal(t, sumOf(t, noise(2, bulk)), down)
		r := e.result()
		require.False(t, r.Reset)
		require.EqualValues(t, bulk, r.Sent)
		require.EqualValues(t, bulk, r.Received)
	})
}

// fill writes until the tunnel takes no more, and returns how much that was.
func fill(t *testing.T, p *nettest.Peer) (filled int64) {
	t.Helper()
	piece := make([]byte, 64<<10)
	for {
		p.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		n, err := p.Write(piece)
		if filled += int64(n); err != nil {
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			p.SetWriteDeadline(time.Now().Add(nettest.Patience))
			return filled
		}
	}
}

func TestAReceiverThatIsFull(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		t.Run("gets everything once it reads on, and the sender's end", func(t *testing.T) {
			e := w.open(t, "early")
			filled := fill(t, e.client)
			e.origin.Say("the other way is free")
			e.client.Expect("the other way is free")
			e.client.CloseWrite()
			n, err := io.Copy(io.Discard, e.origin.In)
			require.NoError(t, err)
			require.Equal(t, filled+5, n)
			e.origin.Close()
			require.Equal(t, Result{Sent: n, Received: 21, End: ClientClosed}, e.result())
		})
		t.Run("is full already of what came early", func(t *testing.T) {
			early := strings.Repeat("0123456789abcdef", 1<<20) // more than the sockets take
			e := w.open(t, early)
			e.client.Say("later").CloseWrite()
			require.True(t, early+"later" == whole(t, e.origin), "the bytes differ")
		})
		t.Run("is idle when it never reads", func(t *testing.T) {
			e := w.open(t, "")
			fill(t, e.origin)
			e.keeper.sweep(e.keeper.now() + 2*time.Hour)
			require.Equal(t, Idle, e.result().End)
			_, err := io.Copy(io.Discard, e.client.In)
			require.ErrorIs(t, err, syscall.ECONNRESET)
		})
		t.Run("is cut", func(t *testing.T) {
			e := w.open(t, "")
			fill(t, e.client)
			e.tunnel.Close()
			r := e.result()
			require.Equal(t, Cut, r.End)
			n, err := io.Copy(io.Discard, e.origin.In)
			require.ErrorIs(t, err, syscall.ECONNRESET)
			require.LessOrEqual(t, n, r.Sent)
		})
	})
	t.Run("hears of the sender's reset all the same", func(t *testing.T) {
		e := kept.open(t, "")
		fill(t, e.client)
		e.client.Reset()
		r := e.result()
		require.Equal(t, ClientClosed, r.End)
		require.True(t, r.Reset)
		_, err := io.Copy(io.Discard, e.origin.In)
		require.ErrorIs(t, err, syscall.ECONNRESET)
	})
}

func TestAResetAfterTheEndIsPassedOn(t *testing.T) {
	for name, before := range map[string]func(*ends){
		"in the loop":      func(e *ends) {},
		"by its goroutine": func(e *ends) { go e.client.Write(make([]byte, 8<<20)); io.CopyN(io.Discard, e.origin.In, 8<<20) },
	} {
		t.Run("the end was found "+name, func(t *testing.T) {
			e := kept.open(t, "")
			before(e)
			e.client.CloseWrite()
			require.Empty(t, whole(t, e.origin))
			e.client.Reset() // the origin is silent: nothing else would tell of it
			r := e.result()
			require.Equal(t, ClientClosed, r.End)
			require.True(t, r.Reset)
			require.Eventually(t, func() bool { // the reset may still be on its way
				_, err := e.origin.Write([]byte("x"))
				return err != nil
			}, nettest.Patience, time.Millisecond)
		})
	}
}

func TestAnEndAndAResetThatComeTogetherAreAReset(t *testing.T) {
	e := kept.join(t, newKeeper(t, 0))
	e.client.Say("all").CloseWrite()
	e.client.Reset()
	e.tunnel.Open(nil)
	require.Equal(t, Result{Sent: 3, End: ClientClosed, Reset: true}, e.result())
}

// awayDirections counts the goroutines that the tunnel has lent.
func (e *ends) awayDirections() int {
	e.tunnel.mu.Lock()
	defer e.tunnel.mu.Unlock()
	return e.tunnel.busy
}

func TestAGoroutineGoesWhenItsDirectionIsSilent(t *testing.T) {
	e := kept.open(t, "")
	for range 2 {
		go e.client.Write(make([]byte, 8<<20))
		_, err := io.CopyN(io.Discard, e.origin.In, 8<<20)
		require.NoError(t, err)
		require.Eventually(t, func() bool { return e.awayDirections() == 0 }, nettest.Patience, 10*time.Millisecond)
		e.client.Say("small")
		e.origin.Expect("small").Say("back")
		e.client.Expect("back")
		require.Zero(t, e.awayDirections(), "small pieces were given to a goroutine")
	}
}

func TestCutWhileBulky(t *testing.T) {
	e := kept.open(t, "")
	var moving sync.WaitGroup
	moving.Go(func() { io.Copy(e.client.Conn, noise(1, 1<<40)) })
	_, err := io.CopyN(io.Discard, e.origin.In, 16<<20)
	require.NoError(t, err)
	e.tunnel.Close()
	r := e.result()
	moving.Wait()
	n, err := io.Copy(io.Discard, e.origin.In)
	require.Error(t, err)
	require.Equal(t, Cut, r.End)
	require.GreaterOrEqual(t, r.Sent, 16<<20+n)
}

func descriptors(t *testing.T) int {
	list, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(list)
}

func TestIdleTunnelsHoldTwoDescriptorsAndNoGoroutine(t *testing.T) {
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	count := min(2000, (int(limit.Cur)-100)/4) // the far ends are ours as well
	k := newKeeper(t, time.Hour)
	ln := loopback(t)
	var near, far []*net.TCPConn
	for range 2 * count {
		n, f := pair(t, ln)
		near, far = append(near, n), append(far, f)
	}
	t.Cleanup(func() {
		for _, c := range far {
			c.Close()
		}
	})
	fds, goroutines := descriptors(t), runtime.NumGoroutine()
	results := make(chan Result, count)
	for i := range count {
		k.Join(near[2*i], near[2*i+1], func(r Result) { results <- r }).Open(nil)
	}
	buf := make([]byte, 1)
	for i := range count { // each one lives
		for _, way := range [][2]*net.TCPConn{{far[2*i], far[2*i+1]}, {far[2*i+1], far[2*i]}} {
			_, err := way[0].Write([]byte("x"))
			require.NoError(t, err)
			_, err = io.ReadFull(way[1], buf)
			require.NoError(t, err)
		}
	}
	// Beyond the sockets, which were there before: the set, and nothing else.
	// The sweeper and the loop are two goroutines for all.
	require.LessOrEqual(t, descriptors(t)-fds, 1)
	require.LessOrEqual(t, runtime.NumGoroutine()-goroutines, 2)
	for _, c := range far {
		c.Close()
	}
	for range count {
		r := <-results
		require.EqualValues(t, 1, r.Sent)
		require.EqualValues(t, 1, r.Received)
	}
	require.LessOrEqual(t, descriptors(t)-fds, 1-4*count)
}

// Descriptors are closed and their numbers given out again all the time, while
// events of the old ones are still on their way: no byte may reach a tunnel that
// it was not for.
func TestThousandsOfTunnelsComeAndGo(t *testing.T) {
	k := newKeeper(t, time.Hour)
	ln := loopback(t)
	const workers, each = 8, 400
	var dialling sync.Mutex // so that a pair's ends belong together
	dial := func(w way, done func(Result)) (*Tunnel, *net.TCPConn, *net.TCPConn) {
		dialling.Lock()
		defer dialling.Unlock()
		return w.tunnel(t, k, ln, done)
	}
	var working, told sync.WaitGroup
	for worker := range workers {
		working.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(worker)))
			for i := range each {
				told.Add(1)
				tunnel, client, origin := dial(ways[i%2], func(Result) { told.Done() })
				name := []byte{byte(worker), byte(i), byte(i >> 8)}
				tunnel.Open(name)
				if got := make([]byte, 3); !readAll(origin, got) || string(got) != string(name) {
					t.Errorf("the origin got %v instead of %v", got, name)
				}
				origin.Write(name)
				if got := make([]byte, 3); !readAll(client, got) || string(got) != string(name) {
					t.Errorf("the client got %v instead of %v", got, name)
				}
				switch random.IntN(5) {
				case 0:
					tunnel.Close()
				case 1:
					client.SetLinger(0)
				case 2:
					origin.SetLinger(0)
				case 3:
					client.Write(make([]byte, 1<<18)) // and gone, in the midst of bulk
				}
				client.Close()
				origin.Close()
			}
		})
	}
	working.Wait()
	told.Wait()
	require.Empty(t, k.tunnels)
}

func readAll(c *net.TCPConn, into []byte) bool {
	c.SetDeadline(time.Now().Add(nettest.Patience))
	_, err := io.ReadFull(c, into)
	return err == nil
}

// A read stops short at urgent data though more is there, and nothing would tell of
// that again.
func TestUrgentDataDoesNotStopATunnel(t *testing.T) {
	e := kept.join(t, newKeeper(t, time.Hour))
	raw, err := e.client.Conn.(*net.TCPConn).SyscallConn()
	require.NoError(t, err)
	e.client.Say("before")
	require.NoError(t, raw.Control(func(fd uintptr) {
		require.NoError(t, syscall.Sendto(int(fd), []byte("!"), syscall.MSG_OOB, nil))
	}))
	e.client.Say("after")
	e.tunnel.Open(nil)
	e.origin.Expect("beforeafter")
	e.origin.Say("and back")
	e.client.Expect("and back")
}
