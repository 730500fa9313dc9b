package flow

import "sync"

// queue holds Records between those who bring them and the one goroutine that
// writes them: a ring of fixed size. Many are taken at once, which a channel does
// not offer: beside it, handing over costs less than half.
type queue struct {
	mu    sync.Mutex
	ring  []*Record
	first int // of those that wait
	n     int // how many wait

	come chan struct{} // one waits where none did
	half chan struct{} // the ring is half full
}

func newQueue(size int) *queue {
	return &queue{ring: make([]*Record, size), come: make(chan struct{}, 1), half: make(chan struct{}, 1)}
}

// put adds r at the end, and is false where there is no place.
func (q *queue) put(r *Record) bool {
	q.mu.Lock()
	n := q.n
	if n < len(q.ring) {
		q.ring[(q.first+n)%len(q.ring)] = r
		q.n++
	}
	q.mu.Unlock()
	if n == 0 {
		ring(q.come)
	}
	if n+1 == (len(q.ring)+1)/2 {
		ring(q.half)
	}
	return n < len(q.ring)
}

// ring rings a bell that need not be heard twice.
func ring(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
	default: // it has not been heard yet
	}
}

// take moves the oldest that wait to the beginning of into, and says how many.
func (q *queue) take(into []*Record) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(q.n, len(into))
	for i := range n {
		into[i], q.ring[q.first] = q.ring[q.first], nil
		q.first = (q.first + 1) % len(q.ring)
	}
	q.n -= n
	return n
}

// waiting is how many wait.
func (q *queue) waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.n
}
