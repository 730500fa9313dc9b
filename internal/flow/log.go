package flow

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"sync/atomic"
	"time"
)

// Format writes a Record as one line, with its line end, to the end of dst. One
// that remembers what it wrote (NewJSON, Syslog) is for one goroutine.
type Format func(dst []byte, r *Record) []byte

// LogConfig says how a Log writes.
type LogConfig struct {
	Format Format    // nil: NewJSON()
	Out    io.Writer // not closed by Log
	// Queue is how many Records may wait; 0: 8192. A Record that finds no
	// place is dropped and counted.
	Queue int
	// Batch is how many octets are gathered, at most, before they are written; 0:
	// 64 KiB. A line that reaches it is still of the batch.
	Batch int
	// Logger is told when lines begin to be lost and when writing works again;
	// nil: nobody is.
	Logger *slog.Logger
	// Name is what Logger calls the log, and Advice what to do where it cannot be
	// written; empty: those of the decision log in a file.
	Name, Advice string
	Now          func() time.Time // nil: time.Now
}

// Log is the decision log: a Sink that hands Records through a bounded queue to
// one goroutine that writes them. It never blocks the gate: what cannot be
// queued or written (a slow reader of standard output, a full disk) is dropped
// and counted.
type Log struct {
	LogConfig // with its defaults filled in

	queue   *queue
	dropped atomic.Uint64
	crowded atomic.Uint64 // of dropped, those that found no place in the queue
	last    atomic.Int64  // when a line was lost last, in Unix time; 0: none was
	trouble atomic.Pointer[error]
	stuck   atomic.Pointer[error]

	// Owned by Run.
	taken [64]*Record // from the queue
	told  uint64      // of crowded, those that have been told of
	mute  bool        // it has been told of within the hour
}

// gathering is how long the first Record of a batch waits for others: woken for
// each of them, the log would cost a fifth of what it tells of.
const gathering = 20 * time.Millisecond

// NewLog makes a Log; nothing is written until Run runs.
func NewLog(c LogConfig) *Log {
	if c.Format == nil {
		c.Format = NewJSON()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Queue == 0 {
		c.Queue = 8192
	}
	if c.Batch == 0 {
		c.Batch = 64 << 10
	}
	if c.Name == "" {
		c.Name, c.Advice = "decision log", "free disk space, or check the path and its permissions"
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Log{LogConfig: c, queue: newQueue(c.Queue)}
}

// Record implements Sink.
func (l *Log) Record(r *Record) {
	if !l.queue.put(r) {
		l.crowded.Add(1)
		l.lose(1)
	}
}

func (l *Log) lose(n int) {
	l.dropped.Add(uint64(n))
	l.last.Store(l.Now().Unix())
}

// Dropped is the number of Records that were never written.
func (l *Log) Dropped() uint64 { return l.dropped.Load() }

// LastDropped is when one was dropped last, to the second; the zero time: none was.
func (l *Log) LastDropped() time.Time {
	if at := l.last.Load(); at != 0 {
		return time.Unix(at, 0)
	}
	return time.Time{}
}

// Trouble is why lines cannot be written now; nil: they can, as far as is known.
func (l *Log) Trouble() error {
	if err := l.trouble.Load(); err != nil {
		return *err
	}
	return nil
}

// Run writes until ctx is done, then writes what is still queued and returns.
// It returns late where Out blocks.
func (l *Log) Run(ctx context.Context) {
	hourly := time.NewTicker(time.Hour)
	defer hourly.Stop()
	more := time.NewTimer(gathering)
	defer more.Stop()
	l.tend()
	buf := make([]byte, 0, l.Batch+4096)
	for {
		select {
		case <-l.queue.come:
			l.await(ctx, more)
			l.drain(buf)
			l.tellOfCrowd()
		case <-hourly.C:
			l.mute = false
			l.tend()
		case <-ctx.Done():
			for l.queue.waiting() > 0 {
				l.drain(buf)
			}
			return
		}
	}
}

// await lets Records gather in the queue, which wakes nobody.
func (l *Log) await(ctx context.Context, more *time.Timer) {
	if 2*l.queue.waiting() >= l.Queue {
		return
	}
	more.Reset(gathering)
	select {
	case <-more.C:
	case <-l.queue.half:
	case <-ctx.Done():
	}
}

// drain writes what waits by now, in batches. Formatted one after the other
// they cost less than each by whoever brings it, which was tried: the processor
// keeps at hand how a line is formatted.
func (l *Log) drain(buf []byte) {
	buf = buf[:0]
	for left := l.queue.waiting(); left > 0; {
		taken := l.taken[:l.queue.take(l.taken[:min(left, len(l.taken))])]
		left -= len(taken)
		for i, r := range taken {
			if len(buf) >= l.Batch {
				l.write(buf)
				buf = buf[:0]
			}
			buf = l.appendLine(buf, r)
			taken[i] = nil
		}
	}
	l.write(buf)
	if l.queue.waiting() > 0 {
		ring(l.queue.come)
	}
}

// appendLine formats one Record; one that makes the formatter panic costs its
// line and nothing else.
func (l *Log) appendLine(buf []byte, r *Record) (with []byte) {
	defer func() {
		if fault := recover(); fault != nil {
			l.lose(1)
			l.Logger.Error(l.Name+": a line could not be formatted", "fault", fault)
			with = buf
		}
	}()
	return l.Format(buf, r)
}

// write writes whole lines. Where the disk fills up in the midst of them, those
// that got their line end have been written, and only the others are lost.
func (l *Log) write(lines []byte) {
	if len(lines) == 0 {
		return
	}
	n, err := l.Out.Write(lines)
	if err != nil {
		l.lose(bytes.Count(lines[n:], []byte{'\n'}))
	}
	switch failing := l.trouble.Load() != nil; {
	case err != nil && !failing:
		l.Logger.Error(l.Name+": cannot write; decisions go on, their lines are dropped and counted "+
			"until it works again: "+l.Advice, "err", err)
		l.trouble.Store(&err)
	case err == nil && failing:
		l.Logger.Warn(l.Name+": writing works again", "dropped", l.Dropped())
		l.trouble.Store(nil)
	}
	l.tellOfStuck()
}

// tellOfCrowd says, once an hour at most, that lines found no place in the queue.
func (l *Log) tellOfCrowd() {
	crowded := l.crowded.Load()
	if crowded > l.told && !l.mute {
		l.Logger.Warn(l.Name+": lines were dropped and counted: decisions come faster than they are taken; "+
			"decisions go on", "dropped", l.Dropped())
		l.mute = true
	}
	l.told = crowded
}

// tend lets a file that is bounded in days delete what is too old, also on days
// on which nothing is written.
func (l *Log) tend() {
	if f, ok := l.Out.(interface{ Tend() error }); ok {
		if err := f.Tend(); err != nil {
			l.Logger.Warn(l.Name+": old files could not be deleted", "err", err)
		}
	}
}
