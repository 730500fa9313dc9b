package proxy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"gatehouse/internal/flow"
	"gatehouse/policy"
)

// What an exchange costs, over real loopback sockets. Client and origin run in
// the same process and do as little as they can; cpu-µs/op counts them too, so
// figures are good for comparing one version of the gate with another.

// benchGate starts a gate that permits www on a port, for as long as b runs.
func benchGate(b testing.TB, port int, change ...func(*policy.Rule)) (addr string) {
	return benchGateWith(b, port, &flow.Book{}, change...)
}

// benchGateWith starts one that writes its passages down.
func benchGateWith(b testing.TB, port int, book *flow.Book, change ...func(*policy.Rule)) (addr string) {
	if _, timed := b.(*testing.B); timed {
		poisonHeads = false // costs more than what is measured
		b.Cleanup(func() { poisonHeads = true })
	}
	p, err := policy.Compile(policy.Spec{Rules: []policy.Rule{allow(www, port, change...)}, TreatAsPublic: []netip.Prefix{loopback}})
	if err != nil {
		b.Fatal(err)
	}
	live := &policy.Live{}
	live.Swap(p)
	s := New(Config{}, Deps{Policy: live, Resolver: knownAddress{}, Book: book})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { s.Serve(context.Background(), ln) })
	b.Cleanup(func() {
		now, cancel := context.WithCancel(context.Background())
		cancel()
		s.Shutdown(now)
		serving.Wait()
	})
	return ln.Addr().String()
}

// knownAddress is a resolver that costs next to nothing.
type knownAddress struct{}

func (knownAddress) Resolve(_ context.Context, permit policy.Permit) ([]policy.Permit, policy.Verdict, error) {
	v, p := permit.Policy().Answer(policy.Answer{At: time.Now(), Permit: permit, Addr: netip.MustParseAddr("127.0.0.1")})
	return []policy.Permit{p}, v, nil
}

// benchOrigin answers each head, or each first byte, with the same bytes.
func benchOrigin(b testing.TB, ends, reply string) (port int) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var serving sync.WaitGroup
	b.Cleanup(func() { ln.Close(); serving.Wait() })
	serving.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				buf := make([]byte, 4096)
				for n := 0; ; {
					m, err := conn.Read(buf[n:])
					if err != nil {
						return
					}
					if n += m; bytes.HasSuffix(buf[:n], []byte(ends)) {
						io.WriteString(conn, reply)
						n = 0
					}
				}
			})
		}
	})
	return ln.Addr().(*net.TCPAddr).Port
}

const benchAnswer = "HTTP/1.1 200 OK\r\nDate: Mon, 07 Sep 2026 08:00:00 GMT\r\nServer: origin\r\nContent-Type: text/css\r\nContent-Length: 16\r\n\r\n0123456789abcdef"

func benchRequest(host string, port int) []byte {
	return fmt.Appendf(nil, "GET http://%[1]s:%[2]d/a.css HTTP/1.1\r\nHost: %[1]s:%[2]d\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n", host, port)
}

// askOnce sends a request and reads one answer with a Content-Length.
func askOnce(b testing.TB, conn net.Conn, in *bufio.Reader, request []byte) {
	if _, err := conn.Write(request); err != nil {
		b.Fatal(err)
	}
	length := 0
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			b.Fatal(err)
		}
		if len(line) == 2 {
			break
		}
		if v, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			for _, c := range bytes.TrimSpace(v) {
				length = length*10 + int(c-'0')
			}
		}
	}
	if _, err := in.Discard(length); err != nil {
		b.Fatal(err)
	}
}

// measure runs f and reports the processor time of the whole process.
func measure(b *testing.B, f func(*testing.PB)) {
	b.ReportAllocs()
	b.SetParallelism(8)
	b.ResetTimer()
	before := processorTime()
	b.RunParallel(f)
	b.ReportMetric(float64((processorTime()-before).Nanoseconds())/1e3/float64(b.N), "cpu-µs/op")
}

func processorTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkGETKeptAlive(b *testing.B) {
	port := benchOrigin(b, "\r\n\r\n", benchAnswer)
	benchGET(b, benchGate(b, port, plainHTTP), benchRequest(www, port))
}

// The same with the decision log in a file: what it costs of a request, the writing
// included.
func BenchmarkGETKeptAliveWrittenDown(b *testing.B) {
	log := flow.NewLog(flow.LogConfig{Out: flow.NewFile(flow.FileConfig{Path: filepath.Join(b.TempDir(), "decisions.log"), Days: 90, Bytes: 1 << 30})})
	ctx, cancel := context.WithCancel(context.Background())
	var writing sync.WaitGroup
	writing.Go(func() { log.Run(ctx) })
	port := benchOrigin(b, "\r\n\r\n", benchAnswer)
	benchGET(b, benchGateWith(b, port, &flow.Book{Sinks: []flow.Sink{log}}, plainHTTP), benchRequest(www, port))
	cancel()
	writing.Wait()
	b.ReportMetric(float64(log.Dropped()), "dropped")
}

func BenchmarkGETDenied(b *testing.B) {
	benchGET(b, benchGate(b, 80, plainHTTP), benchRequest("other.example", 80))
}

func benchGET(b *testing.B, gate string, request []byte) {
	measure(b, func(pb *testing.PB) {
		conn, err := net.Dial("tcp", gate)
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		in := bufio.NewReader(conn)
		for pb.Next() {
			askOnce(b, conn, in, request)
		}
	})
}

func BenchmarkGETOnANewConnection(b *testing.B) {
	port := benchOrigin(b, "\r\n\r\n", benchAnswer)
	gate, request := benchGate(b, port, plainHTTP), benchRequest(www, port)
	measure(b, func(pb *testing.PB) {
		in := bufio.NewReader(nil)
		for pb.Next() {
			conn, err := net.Dial("tcp", gate)
			if err != nil {
				b.Fatal(err)
			}
			in.Reset(conn)
			askOnce(b, conn, in, request)
			conn.Close()
		}
	})
}

func BenchmarkCONNECT(b *testing.B) {
	port := benchOrigin(b, "x", "y")
	gate := benchGate(b, port, rawTCP)
	request := fmt.Appendf(nil, "CONNECT %[1]s:%[2]d HTTP/1.1\r\nHost: %[1]s:%[2]d\r\n\r\n", www, port)
	measure(b, func(pb *testing.PB) {
		in := bufio.NewReader(nil)
		for pb.Next() {
			conn, err := net.Dial("tcp", gate)
			if err != nil {
				b.Fatal(err)
			}
			in.Reset(conn)
			knock(b, conn, in, request)
		}
	})
}

// knock opens a tunnel, sends one byte and gets one back, and closes it.
func knock(b testing.TB, conn net.Conn, in *bufio.Reader, request []byte) {
	askOnce(b, conn, in, request)
	io.WriteString(conn, "x")
	if _, err := in.ReadByte(); err != nil {
		b.Fatal(err)
	}
	conn.Close()
}
