package keeper

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The benchmarks compare three ways to carry a tunnel: the keeper, two io.Copy
// on bare connections (which splice), and two io.Copy that cannot. Client and
// origin are another process, so that what is measured is the relay's processor
// time alone:
//
//	go test -run '^$' -bench . -benchtime 3s -count 5 ./proxy/keeper
type carrier struct {
	name  string
	carry func(k *Keeper, client, origin *net.TCPConn, over func())
}

var carriers = []carrier{
	{"keeper", func(k *Keeper, client, origin *net.TCPConn, over func()) {
		k.Join(client, origin, func(Result) { over() }).Open(nil)
	}},
	{"splicing-copies", func(_ *Keeper, client, origin *net.TCPConn, over func()) {
		go copies(origin, client, client, origin, over)
	}},
	{"plain-copies", func(_ *Keeper, client, origin *net.TCPConn, over func()) {
		go copies(struct{ io.Writer }{origin}, struct{ io.Writer }{client}, client, origin, over)
	}},
}

// copies is the usual way.
func copies(up, down io.Writer, client, origin *net.TCPConn, over func()) {
	var upward sync.WaitGroup
	upward.Go(func() {
		io.Copy(up, client)
		origin.CloseWrite()
	})
	io.Copy(down, origin)
	client.CloseWrite()
	upward.Wait()
	client.Close()
	origin.Close()
	over()
}

func BenchmarkByteAndClose(b *testing.B) {
	b.Run("of=1", func(b *testing.B) { eachCarrier(b, 1, 0) })
}

func BenchmarkBulk(b *testing.B) {
	for _, tunnels := range []int{1, 8} {
		b.Run(fmt.Sprintf("tunnels=%d", tunnels), func(b *testing.B) { eachCarrier(b, tunnels, 64<<20) })
	}
}

func eachCarrier(b *testing.B, tunnels int, octets int64) {
	for _, c := range carriers {
		b.Run(c.name, func(b *testing.B) { relay(b, c, tunnels, octets) })
	}
}

// relay carries b.N tunnels, so many at once, and reports the processor time of
// this process.
func relay(b *testing.B, c carrier, tunnels int, octets int64) {
	k := New(time.Hour)
	defer k.Close()
	ln := loopback(b)
	far := exec.Command(os.Args[0])
	far.Env = append(os.Environ(), "KEEPER_FAR_END="+ln.Addr().String(), "KEEPER_TUNNELS="+strconv.Itoa(tunnels))
	order, err := far.StdinPipe()
	require.NoError(b, err)
	answers, err := far.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, far.Start())
	defer far.Wait()
	defer order.Close()
	var at [2]byte
	_, err = io.ReadFull(answers, at[:])
	require.NoError(b, err)
	origin := fmt.Sprintf("127.0.0.1:%d", binary.BigEndian.Uint16(at[:]))

	before := cpu(b)
	b.ResetTimer()
	var over sync.WaitGroup
	over.Add(b.N)
	binary.Write(order, binary.BigEndian, [2]int64{int64(b.N), octets})
	for range b.N {
		client, err := ln.Accept()
		require.NoError(b, err)
		dialled, err := net.Dial("tcp", origin)
		require.NoError(b, err)
		c.carry(k, client.(*net.TCPConn), dialled.(*net.TCPConn), over.Done)
	}
	over.Wait()
	b.StopTimer()
	spent := cpu(b) - before
	b.ReportMetric(float64(spent.Microseconds())/float64(b.N), "cpu-µs/op")
	if octets > 0 {
		b.SetBytes(octets)
		b.ReportMetric(spent.Seconds()/(float64(b.N)*float64(octets)/(1<<30)), "cpu-s/GiB")
	}
}

func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkIdle reports what a silent tunnel holds, beside its sockets in the
// kernel.
func BenchmarkIdle(b *testing.B) {
	const tunnels = 1000
	for _, c := range carriers {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				idle(b, c, tunnels)
			}
		})
	}
}

func idle(b *testing.B, c carrier, tunnels int) {
	k := New(time.Hour)
	ln := loopback(b)
	var near, far []*net.TCPConn
	for range 2 * tunnels {
		n, f := pair(b, ln)
		near, far = append(near, n), append(far, f)
	}
	heap, fds := held(b)
	var over sync.WaitGroup
	over.Add(tunnels)
	buf := make([]byte, 1)
	for i := range tunnels {
		c.carry(k, near[2*i], near[2*i+1], over.Done)
		far[2*i].Write(buf)
		io.ReadFull(far[2*i+1], buf)
		far[2*i+1].Write(buf)
		io.ReadFull(far[2*i], buf)
	}
	heapAfter, fdsAfter := held(b)
	b.ReportMetric(float64(heapAfter-heap)/float64(tunnels), "B/tunnel")
	b.ReportMetric(2+float64(fdsAfter-fds)/float64(tunnels), "fds/tunnel")
	for _, c := range far {
		c.Close()
	}
	over.Wait()
	k.Close()
}

// held is the memory of heap and stacks, and the open descriptors.
func held(b *testing.B) (octets int64, descriptors int) {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	list, err := os.ReadDir("/proc/self/fd")
	require.NoError(b, err)
	return int64(m.HeapInuse + m.StackInuse), len(list)
}
