package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
)

// footprint is what gatehouse holds while nobody is connected.
type footprint struct {
	descriptors, goroutines int
	memory                  int // KiB that are resident
}

func (l *land) footprint() (f footprint) {
	l.t.Helper()
	proc := fmt.Sprintf("/proc/%d/", l.running.Process.Pid)
	list, err := os.ReadDir(proc + "fd")
	require.NoError(l.t, err)
	status, err := os.ReadFile(proc + "status")
	require.NoError(l.t, err)
	return footprint{len(list), l.metric("go_goroutines"), number(l.t, string(status), `(?m)^VmRSS:\s+(\d+) kB$`)}
}

// metric is a count of the gate's, told at the admin listener.
func (l *land) metric(name string) int {
	l.t.Helper()
	conn, err := l.Gate.Dial("tcp", "127.0.0.1:9080")
	require.NoError(l.t, err)
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(nettest.Patience))
	io.WriteString(conn, "GET /metrics HTTP/1.0\r\nHost: 127.0.0.1:9080\r\n\r\n")
	text, err := io.ReadAll(conn)
	require.NoError(l.t, err)
	return number(l.t, string(text), `(?m)^`+regexp.QuoteMeta(name)+` (\S+)$`)
}

func number(t *testing.T, text, pattern string) int {
	t.Helper()
	found := regexp.MustCompile(pattern).FindStringSubmatch(text)
	require.NotNil(t, found, "%s in\n%s", pattern, text)
	n, err := strconv.ParseFloat(found[1], 64)
	require.NoError(t, err)
	return int(n)
}

// callers connect n times, a thousand times a second or as often as the machine
// can, from a fixed number of threads; each says something and hears it back.
func (l *land) callers(n int) (took time.Duration) {
	l.t.Helper()
	const threads = 32
	began := time.Now()
	var next atomic.Int64
	var all sync.WaitGroup
	for range threads {
		all.Go(func() {
			l.Client.In(func() {
				for i := next.Add(1); i <= int64(n) && !l.t.Failed(); i = next.Add(1) {
					time.Sleep(time.Until(began.Add(time.Duration(i) * time.Millisecond))) // its turn
					if err := call(net.JoinHostPort(busAddr, "9352")); err != nil {
						l.t.Errorf("connection %d: %v", i, err)
					}
				}
			})
		})
	}
	all.Wait()
	return time.Since(began)
}

func call(addr string) error {
	conn, err := net.DialTimeout("tcp", addr, nettest.Patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(nettest.Patience))
	return sayAndHear(conn, amqp, amqp)
}

func TestGatewayCarriesAThousandRedirectedConnectionsASecond(t *testing.T) {
	l := newLand(t, landBus)
	l.Origin.Echo("9352")
	l.start()
	l.ask("bus.example.org")
	l.callers(2000) // until pools, buffers and the heap are as large as they get
	before := l.footprint()
	const many = 10_000
	took := l.callers(many)
	var after footprint
	require.True(t, comesTrue(func() bool {
		after = l.footprint()
		// What each connection left would be there ten thousand times.
		return after.descriptors < before.descriptors+many/100 && after.goroutines < before.goroutines+many/100 &&
			after.memory < before.memory+many*4
	}), "before %+v, after %+v", before, after)
	require.True(t, comesTrue(func() bool { return l.metric(`gatehouse_open_connections{surface="gateway"}`) == 0 }))
	require.True(t, comesTrue(func() bool {
		return strings.Count(l.book(), `"surface":"gateway"`) == 2000+many
	}), "each of them is in the book: %d", strings.Count(l.book(), `"surface":"gateway"`))
	t.Logf("%d connections in %s: %.0f a second; before %+v, after %+v", many, took, many/took.Seconds(), before, after)
}
