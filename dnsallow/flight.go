package dnsallow

import (
	"context"
	"sync"
)

// flights lets everybody who asks the same question at the same time share one
// look-up. The first asker carries it out; there is no goroutine that could
// outlive it. Where the first gives up, one of those who wait takes over.
type flights struct {
	mu    sync.Mutex
	aloft map[question]*flight
}

type flight struct {
	landed chan struct{} // closed when facts and err are final; made by the first who waits
	facts  *facts
	err    error
	gone   bool // whoever carried it out gave up
}

// do returns what look finds out about q, or what somebody else's look at the
// same time does.
func (fs *flights) do(ctx context.Context, q question, look func(context.Context, question) (*facts, error)) (*facts, error) {
	for {
		f, mine := fs.join(q)
		if mine {
			return fs.carry(ctx, q, f, look)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-f.landed:
		}
		if !f.gone {
			return f.facts, f.err
		}
	}
}

func (fs *flights) join(q question) (f *flight, mine bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f := fs.aloft[q]; f != nil {
		if f.landed == nil {
			f.landed = make(chan struct{})
		}
		return f, false
	}
	if fs.aloft == nil {
		fs.aloft = map[question]*flight{}
	}
	f = &flight{gone: true}
	fs.aloft[q] = f
	return f, true
}

func (fs *flights) carry(ctx context.Context, q question, f *flight, look func(context.Context, question) (*facts, error)) (*facts, error) {
	defer fs.land(q, f) // also after a panic: nobody may wait for ever
	f.facts, f.err = look(ctx, q)
	f.gone = f.err != nil && gaveUp(ctx)
	return f.facts, f.err
}

// land tells those who wait what came of a flight that was joined as mine; where
// it is still gone, one of them takes over.
func (fs *flights) land(q question, f *flight) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	delete(fs.aloft, q)
	if f.landed != nil {
		close(f.landed)
	}
}
