package flow

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
)

// Bounds of those who look on: how many there may be, and how many Records each may
// be behind.
const (
	mostViewers = 16
	viewerQueue = 512
)

// Why nobody more may look on, or looks on no longer.
var (
	ErrManyViewers = errors.New("as many look on as may; close a live view, or ask for the decisions now and then")
	ErrTailEnded   = errors.New("the gate is stopping")
)

// Tail hands each Record on to those who look on, as it is made. Nobody who looks
// on holds up the gate: what does not fit into his queue is left out, and counted
// for him. The zero value is ready; it is safe for concurrent use.
type Tail struct {
	mu    sync.Mutex
	ended bool
	views atomic.Pointer[[]*View] // replaced, never changed
}

// View is one who looks on.
type View struct {
	tail   *Tail
	queue  chan *Record
	missed atomic.Int64
	ended  chan struct{} // closed when the tail ends
}

// Record implements Sink. The passage that was repeated has been told.
func (t *Tail) Record(r *Record) {
	views := t.views.Load()
	if views == nil || r.Repeats > 0 {
		return
	}
	for _, v := range *views {
		select {
		case v.queue <- r:
		default:
			v.missed.Add(1)
		}
	}
}

// View lets somebody look on from now; whoever got a View closes it. The error is
// ErrManyViewers or ErrTailEnded.
func (t *Tail) View() (*View, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	views := t.present()
	switch {
	case t.ended:
		return nil, ErrTailEnded
	case len(views) >= mostViewers:
		return nil, ErrManyViewers
	}
	v := &View{tail: t, queue: make(chan *Record, viewerQueue), ended: make(chan struct{})}
	views = append(slices.Clone(views), v)
	t.views.Store(&views)
	return v, nil
}

func (t *Tail) present() []*View {
	if views := t.views.Load(); views != nil {
		return *views
	}
	return nil
}

// Viewers is how many look on.
func (t *Tail) Viewers() int { return len(t.present()) }

// End tells all who look on that no more comes, and lets in nobody else.
func (t *Tail) End() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return
	}
	t.ended = true
	for _, v := range t.present() {
		close(v.ended)
	}
	t.views.Store(nil)
}

// Close looks on no longer.
func (v *View) Close() {
	v.tail.mu.Lock()
	defer v.tail.mu.Unlock()
	if v.tail.ended {
		return
	}
	left := slices.DeleteFunc(slices.Clone(v.tail.present()), func(o *View) bool { return o == v })
	v.tail.views.Store(&left)
	if len(left) == 0 {
		v.tail.views.Store(nil)
	}
}

// Next waits for Records and gives those that have come, the oldest first, and
// how many were left out since the last time. The error is that of ctx, or
// ErrTailEnded.
func (v *View) Next(ctx context.Context) (list []*Record, missed int, err error) {
	select {
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	case <-v.ended:
		return nil, 0, ErrTailEnded
	case r := <-v.queue:
		list = append(list, r)
	}
	for {
		select {
		case r := <-v.queue:
			list = append(list, r)
		default:
			return list, int(v.missed.Swap(0)), nil
		}
		if len(list) == viewerQueue {
			return list, int(v.missed.Swap(0)), nil
		}
	}
}
