//go:build linux

package appliance

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Thrift: what a burst has left goes back to the system. The collector runs when
// as much has been allocated again as is in use, so after thousands of tunnels were
// opened, or a long list was read, the process would hold twice what it needs, and
// on a quiet machine for minutes.
const (
	thriftEvery = 250 * time.Millisecond
	// calm is the most that is allocated from one look to the next while nothing
	// much happens: a few requests, the second's review of open passages.
	calm = 512 << 10
	// worthIt is how much must have been allocated since the last time. A collection
	// costs processor time for what is in use, so it is not done for nothing.
	worthIt = 4 << 20
)

// thrift looks now and then whether memory can be given back.
type thrift struct {
	allocated func() uint64 // octets since the process began
	giveBack  func()
	seen      uint64 // allocated at the last look
	given     uint64 // and when memory was last given back
}

func newThrift() *thrift {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	return &thrift{
		allocated: func() uint64 { metrics.Read(sample); return sample[0].Value.Uint64() },
		giveBack:  debug.FreeOSMemory,
	}
}

// look gives back what is not needed any more, where it is quiet and worth it.
func (t *thrift) look() {
	now := t.allocated()
	busy := now-t.seen > calm
	t.seen = now
	if busy || now-t.given < worthIt {
		return
	}
	t.giveBack()
	t.seen = t.allocated()
	t.given = t.seen
}

func (a *Appliance) thrift(ctx context.Context) { every(ctx, thriftEvery, newThrift().look) }
