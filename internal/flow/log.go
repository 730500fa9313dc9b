package flow

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"sync/atomic"
	"time"
)

// Format writes a Record as one line, with its line end, to the end of dst.
type Format func(dst []byte, r *Record) []byte

// LogConfig says how a Log writes.
type LogConfig struct {
	Format Format    // nil: JSON
	Out    io.Writer // not closed by Log
	// Queue is how many Records may wait; 0: 8192. A Record that finds no
	// place is dropped and counted.
	Queue int
	// Logger is told when lines begin to be lost and when writing works again;
	// nil: nobody is.
	Logger *slog.Logger
}

// Log is the decision log: a Sink that hands Records through a bounded queue to
// one goroutine that writes them. It never blocks the gate: what cannot be
// queued or written (a slow reader of standard output, a full disk) is dropped
// and counted.
type Log struct {
	format  Format
	out     io.Writer
	logger  *slog.Logger
	queue   chan *Record
	half    chan struct{} // the queue is half full: do not wait for more
	dropped atomic.Uint64
	failing bool // owned by Run
}

// gathering is how long the first Record of a batch waits for others: woken for
// each of them, the log would cost a fifth of what it tells of.
const gathering = 10 * time.Millisecond

// batchBytes is how much is gathered, at most, before it is written.
const batchBytes = 64 << 10

// NewLog makes a Log; nothing is written until Run runs.
func NewLog(c LogConfig) *Log {
	l := &Log{format: c.Format, out: c.Out, logger: c.Logger}
	if l.format == nil {
		l.format = JSON
	}
	if l.logger == nil {
		l.logger = slog.New(slog.DiscardHandler)
	}
	if c.Queue == 0 {
		c.Queue = 8192
	}
	l.queue, l.half = make(chan *Record, c.Queue), make(chan struct{}, 1)
	return l
}

// Record implements Sink.
func (l *Log) Record(r *Record) {
	select {
	case l.queue <- r:
	default:
		l.dropped.Add(1)
	}
	if len(l.queue) == (cap(l.queue)+1)/2 {
		select {
		case l.half <- struct{}{}:
		default: // it has been told
		}
	}
}

// Dropped is the number of Records that were never written.
func (l *Log) Dropped() uint64 { return l.dropped.Load() }

// Run writes until ctx is done, then writes what is still queued and returns.
// It returns late where Out blocks.
func (l *Log) Run(ctx context.Context) {
	hourly := time.NewTicker(time.Hour)
	defer hourly.Stop()
	more := time.NewTimer(gathering)
	defer more.Stop()
	l.tend()
	buf := make([]byte, 0, batchBytes+4096)
	for {
		select {
		case r := <-l.queue:
			l.await(ctx, more)
			l.write(l.gather(buf[:0], r))
		case <-hourly.C:
			l.tend()
		case <-ctx.Done():
			for len(l.queue) > 0 {
				l.write(l.gather(buf[:0], <-l.queue))
			}
			return
		}
	}
}

// await lets Records gather in the queue, which wakes nobody.
func (l *Log) await(ctx context.Context, more *time.Timer) {
	if 2*len(l.queue) >= cap(l.queue) {
		return
	}
	more.Reset(gathering)
	select {
	case <-more.C:
	case <-l.half:
	case <-ctx.Done():
	}
}

// gather formats r and what else waits, so that a burst costs one write.
func (l *Log) gather(buf []byte, r *Record) []byte {
	for {
		buf = l.appendLine(buf, r)
		if len(buf) >= batchBytes {
			return buf
		}
		select {
		case r = <-l.queue:
		default:
			return buf
		}
	}
}

// appendLine formats one Record; one that makes the formatter panic costs its
// line and nothing else.
func (l *Log) appendLine(buf []byte, r *Record) (with []byte) {
	defer func() {
		if fault := recover(); fault != nil {
			l.dropped.Add(1)
			l.logger.Error("decision log: a line could not be formatted", "fault", fault)
			with = buf
		}
	}()
	return l.format(buf, r)
}

// write writes whole lines. Where the disk fills up in the midst of them, those
// that got their line end have been written, and only the others are lost.
func (l *Log) write(lines []byte) {
	if len(lines) == 0 {
		return
	}
	n, err := l.out.Write(lines)
	if err != nil {
		l.dropped.Add(uint64(bytes.Count(lines[n:], []byte{'\n'})))
	}
	switch {
	case err != nil && !l.failing:
		l.logger.Error("decision log: cannot write; decisions go on, their lines are dropped and counted "+
			"until it works again: free disk space, or check the path and its permissions", "err", err)
	case err == nil && l.failing:
		l.logger.Warn("decision log: writing works again", "dropped", l.Dropped())
	}
	l.failing = err != nil
}

// tend lets a file that is bounded in days delete what is too old, also on days
// on which nothing is written.
func (l *Log) tend() {
	if f, ok := l.out.(interface{ Tend() error }); ok {
		if err := f.Tend(); err != nil {
			l.logger.Warn("decision log: old files could not be deleted", "err", err)
		}
	}
}
