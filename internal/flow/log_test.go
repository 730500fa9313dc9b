package flow

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// run starts a Log and gives the function that stops it and waits for it.
func run(l *Log) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { l.Run(ctx) })
	return func() { cancel(); wg.Wait() }
}

func numbered(i int) *Record { return &Record{ID: strconv.Itoa(i)} }

func TestLogWritesEveryRecordBeforeRunReturns(t *testing.T) {
	var out bytes.Buffer
	l := NewLog(LogConfig{Out: &out, Format: func(dst []byte, r *Record) []byte { return append(append(dst, r.ID...), '\n') }})
	var want strings.Builder
	for i := range 5000 {
		l.Record(numbered(i))
		want.WriteString(strconv.Itoa(i) + "\n")
	}
	run(l)()
	require.Equal(t, want.String(), out.String())
	require.Zero(t, l.Dropped())
}

// stuck is a reader of the log that stopped reading: a Write says that it has
// begun and fails only once it is let go.
type stuck struct{ began, free chan struct{} }

func (s stuck) Write([]byte) (int, error) {
	s.began <- struct{}{}
	<-s.free
	return 0, io.ErrClosedPipe
}

func TestLogNeverBlocksTheGateAndCountsWhatItDrops(t *testing.T) {
	out := stuck{began: make(chan struct{}, 2), free: make(chan struct{})}
	var said bytes.Buffer
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	l := NewLog(LogConfig{Out: out, Queue: 4, Logger: slog.New(slog.NewTextHandler(&said, nil)), Now: func() time.Time { return now }})
	require.Zero(t, l.LastDropped())
	stop := run(l)
	l.Record(numbered(0))
	<-out.began // the writer holds one line and takes no more
	for i := range 99 {
		l.Record(numbered(i + 1))
	}
	require.Equal(t, uint64(99-4), l.Dropped(), "all that the queue does not hold")
	close(out.free)
	stop()
	require.Equal(t, uint64(100), l.Dropped(), "and what could not be written")
	require.True(t, now.Equal(l.LastDropped()))
	require.ErrorIs(t, l.Trouble(), io.ErrClosedPipe)
	require.Equal(t, 1, strings.Count(said.String(), "decisions come faster than they are taken"), "told once")
}

// flaky fails while broken is set.
type flaky struct {
	mu     sync.Mutex
	broken bool
	wrote  chan string
}

func (f *flaky) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wrote <- string(p)
	if f.broken {
		return 0, errors.New("no space left on device")
	}
	return len(p), nil
}

func (f *flaky) set(broken bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broken = broken
}

func TestAFullDiskCostsLinesAndIsSaidOnce(t *testing.T) {
	var said bytes.Buffer
	out := &flaky{broken: true, wrote: make(chan string, 1)}
	l := NewLog(LogConfig{Out: out, Logger: slog.New(slog.NewTextHandler(&said, nil))})
	stop := run(l)
	for i := range 3 {
		l.Record(numbered(i))
		<-out.wrote
	}
	out.set(false)
	l.Record(numbered(3))
	require.Contains(t, <-out.wrote, `"id":"3"`)
	stop()
	require.Equal(t, uint64(3), l.Dropped())
	require.Equal(t, 1, strings.Count(said.String(), "cannot write"))
	require.Equal(t, 1, strings.Count(said.String(), "writing works again"))
	require.NoError(t, l.Trouble())
}

// filling takes so many octets in all.
type filling struct {
	bytes.Buffer
	room int
}

func (f *filling) Write(p []byte) (int, error) {
	n, _ := f.Buffer.Write(p[:min(len(p), f.room-f.Len())])
	if n < len(p) {
		return n, errors.New("no space left on device")
	}
	return n, nil
}

func TestADiskThatFillsUpAmidABurstCostsTheLinesItDidNotTake(t *testing.T) {
	out := &filling{room: 3} // "0\n", and a line without its end
	l := NewLog(LogConfig{Out: out, Format: func(dst []byte, r *Record) []byte {
		if r.ID == "3" {
			panic("a fault")
		}
		return append(append(dst, r.ID...), '\n')
	}})
	for i := range 5 {
		l.Record(numbered(i))
	}
	run(l)()
	require.Equal(t, "0\n1", out.String())
	require.Equal(t, uint64(4), l.Dropped(), "each of the others once")
}

func TestARecordThatBreaksTheFormatterCostsItsLineOnly(t *testing.T) {
	var out bytes.Buffer
	l := NewLog(LogConfig{Out: &out, Format: func(dst []byte, r *Record) []byte {
		if r.ID == "1" {
			panic("a fault")
		}
		return append(append(dst, r.ID...), '\n')
	}})
	for i := range 3 {
		l.Record(numbered(i))
	}
	run(l)()
	require.Equal(t, "0\n2\n", out.String())
	require.Equal(t, uint64(1), l.Dropped())
}

func TestRingKeepsTheLastDecisions(t *testing.T) {
	g := NewRing(3)
	require.Nil(t, g.Find("1"))
	for i := range 5 {
		g.Record(numbered(i))
	}
	require.Nil(t, g.Find("1"), "forgotten")
	require.Equal(t, "2", g.Find("2").ID)
	var ids []string
	for _, r := range g.Recent(2) {
		ids = append(ids, r.ID)
	}
	require.Equal(t, []string{"4", "3"}, ids)
}

func TestRingFindsTheEndOfAPassageRatherThanItsStart(t *testing.T) {
	g := NewRing(3)
	g.Record(&Record{ID: "GH-1", Open: true})
	g.Record(&Record{ID: "GH-1", End: "done"})
	require.Equal(t, "done", g.Find("GH-1").End)
}

type faulty struct{}

func (faulty) Record(*Record) { panic("a fault") }

func TestAPanicInOneSinkReachesNeitherTheGateNorTheOthers(t *testing.T) {
	g := NewRing(1)
	var fault any
	book := Book{Sinks: []Sink{faulty{}, g}, Faults: func(_ Sink, f any) { fault = f }}
	book.Record(numbered(7))
	require.Equal(t, "a fault", fault)
	require.NotNil(t, g.Find("7"))
}

func TestIDsAreCrockford(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		id := NewID()
		require.Regexp(t, `^GH-[0-9A-HJKMNP-TV-Z]{8}$`, id)
		require.False(t, seen[id])
		seen[id] = true
	}
}

// BenchmarkLogToAFile is what the decision log costs of a passage: the processor
// time of handing over, formatting and writing, in batches as they come.
func BenchmarkLogToAFile(b *testing.B) {
	l := NewLog(LogConfig{Out: NewFile(FileConfig{Path: filepath.Join(b.TempDir(), "decisions.log"), Days: 90, Bytes: 1 << 30}), Queue: 1 << 20, Batch: 256 << 10})
	stop, r := run(l), request()
	before := processorTime(b)
	for n := 0; b.Loop(); n++ {
		l.Record(r)
		if n%200 == 199 {
			for l.queue.waiting() > 1<<19 { // a gate has other things to do meanwhile
				runtime.Gosched()
			}
		}
	}
	stop()
	b.ReportMetric(float64((processorTime(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(l.Dropped()), "dropped")
}

func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
