package proxy

import (
	"net/netip"
	"sync"
	"time"
)

// rates bound how fast each client may ask, whatever the number of its connections:
// a bucket for each that holds burst requests and regains one each so often. It keeps
// the moment at which the bucket is full again.
type rates struct {
	each time.Duration
	mu   sync.Mutex
	next map[netip.Addr]time.Time
}

const (
	rateBurst = 10 * time.Second // in time: ten seconds' worth at once
	// mostRated bounds the clients that are remembered. They are forgotten when their
	// bucket is full: so many have to ask within the same ten seconds.
	mostRated = 100_000
)

// mayAsk counts a request and reports whether the client may have it.
func (r *rates) mayAsk(client netip.Addr, now time.Time) bool {
	if client.Is6() { // a device has a whole /64 to choose addresses from
		network, _ := client.Prefix(64)
		client = network.Addr()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	full, known := r.next[client]
	if !known && len(r.next) >= mostRated && !r.forget(now) {
		return false
	}
	if full.Before(now) {
		full = now
	}
	if full = full.Add(r.each); full.Sub(now) > rateBurst {
		return false
	}
	r.next[client] = full
	return true
}

// forget makes room, and reports whether there is any.
func (r *rates) forget(now time.Time) bool {
	for client, full := range r.next {
		if !full.After(now) {
			delete(r.next, client)
		}
	}
	return len(r.next) < mostRated
}
