package dnsallow

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/internal/flow"
	"gatehouse/policy"
)

// foldTime is for how long repeats of a question share the line of the first.
const foldTime = 60 * time.Second

// fold gathers the repeats of one question by one client: those that come to the
// same verdict of the same policy share the Record, and with it the decision
// id, of the first. The first is written down at once; the repeats get one line
// when the time is over. All are counted.
type fold struct {
	record *flow.Record
	policy *policy.Policy
	ends   time.Time
	// fresh is how many repeats the sinks have not been told of. It is far below
	// zero once the fold is closed, so that nothing is counted into a fold that
	// nobody will look into again.
	fresh atomic.Int64

	mu     sync.Mutex
	told   int
	closed bool
}

const closedFold = math.MinInt64 / 2

// covers reports whether a verdict may share the fold's line.
func (f *fold) covers(p *policy.Policy, v policy.Verdict, now time.Time) bool {
	return f.policy == p && f.record.Verdict == v && now.Before(f.ends)
}

// again counts a repeat that took no time to speak of. It is false where the
// fold was closed in the meantime. It neither waits nor allocates.
func (f *fold) again() bool { return f.fresh.Add(1) > 0 }

// repeat tells the sinks of a repeat that took some time.
func (f *fold) repeat(s *Server, took time.Duration) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	f.told++
	s.repeated(f.record, 1, took)
	return true
}

// settle tells the sinks what they do not know yet.
func (f *fold) settle(s *Server) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		f.tell(s, f.fresh.Swap(0))
	}
}

func (f *fold) tell(s *Server, n int64) {
	if n > 0 {
		f.told += int(n)
		s.repeated(f.record, int(n), 0)
	}
}

// close settles the fold for good and writes the line of its repeats.
func (f *fold) close(s *Server) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	f.closed = true
	f.tell(s, f.fresh.Swap(closedFold))
	if f.told > 0 {
		line := *f.record
		line.Repeats = f.told
		s.write(&line)
	}
}
