package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// reloadClients ask while the list is read again: enough to meet a moment in which
// nobody answers, few enough to leave a processor for the reading.
const reloadClients = 8

// reloadPatience bounds a reload.
const reloadPatience = 10 * time.Second

// reload has a program read its list again: a changed one, where a line can be
// added to it.
func (i *instance) reload() error {
	if name := i.target.list; name != "" {
		f, err := os.OpenFile(filepath.Join(filepath.Dir(i.program.output), name), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		fmt.Fprintf(f, "# read again at %s\n", time.Now().Format(time.RFC3339Nano))
		if err := f.Close(); err != nil {
			return err
		}
	}
	return i.program.cmd.Process.Signal(syscall.SIGHUP)
}

// measureReload reads the long list again: once while nothing else is done, for its
// processor time, and once while clients ask, for what they notice.
func measureReload(ctx context.Context, b *bench, narrow *instance) (values, error) {
	i, err := narrow.target.start(ctx, b.site, b.dir, b.cpu, b.plan.Many, false)
	if err != nil {
		return nil, err
	}
	defer i.stop()
	if _, err := i.settledCPU(ctx, b.plan); err != nil { // what the start left to do
		return nil, err
	}
	took := time.Now()
	cost, err := i.settledCPU(ctx, b.plan, i.reload)
	if err != nil {
		return nil, err
	}
	found := values{"reload-cpu": float64(cost) / float64(time.Millisecond)}
	failed, longest, err := i.askDuringReload(ctx, b.plan, time.Since(took))
	found["reload-failed"], found["reload-stall"] = float64(failed), float64(longest)/float64(time.Millisecond)
	return found, err
}

// settledCPU does something and returns the processor time that the program used
// until it came to rest.
func (i *instance) settledCPU(ctx context.Context, p plan, do ...func() error) (time.Duration, error) {
	first, err := i.program.cpu()
	for _, f := range do {
		if err == nil {
			err = f()
		}
	}
	last := first
	for calm, until := 0, time.Now().Add(reloadPatience); err == nil && calm < 5 && time.Now().Before(until) && ctx.Err() == nil; {
		pause(ctx, p.Settle/3)
		var now time.Duration
		now, err = i.program.cpu()
		if calm++; now-last > time.Millisecond*2 {
			calm = 0
		}
		last = now
	}
	return last - first, err
}

// askDuringReload lets clients ask while the list is read again, and returns how
// many requests failed and how long the slowest took.
func (i *instance) askDuringReload(ctx context.Context, p plan, most time.Duration) (failed int64, longest time.Duration, err error) {
	var failures, slowest atomic.Int64
	var over atomic.Bool
	var g errgroup.Group
	request, until := i.route.request("GET", i.route.name, "/small", ""), time.Now().Add(p.Warm+most+reloadPatience)
	for range reloadClients {
		g.Go(func() error {
			w := &asking{session: session{route: i.route}, request: request, want: 200, until: until}
			defer w.close()
			for !over.Load() {
				began := time.Now()
				if _, err := w.step(); err != nil {
					failures.Add(1)
					w.close()
					pause(ctx, time.Millisecond)
				}
				took := int64(time.Since(began))
				for old := slowest.Load(); took > old && !slowest.CompareAndSwap(old, took); old = slowest.Load() {
				}
			}
			return nil
		})
	}
	pause(ctx, p.Warm)
	slowest.Store(0)
	err = i.reload()
	pause(ctx, most+p.Window)
	over.Store(true)
	g.Wait()
	return failures.Load(), time.Duration(slowest.Load()), err
}
