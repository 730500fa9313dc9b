package dnsallow

import (
	"sync"
	"time"
)

// pace bounds how often something may happen for each of many keys: as often as
// limit at once, and limit times in each window from then on. Its zero value
// lets nothing happen.
type pace[K comparable] struct {
	limit  int
	window time.Duration

	mu      sync.Mutex
	buckets map[K]*bucket
	swept   time.Time
}

// bucket is how much of the limit was left at a moment.
type bucket struct {
	left float64
	at   time.Time
}

// maxBuckets bounds how many keys are told apart. Senders can be invented, so
// what comes beyond that shares the bucket of the zero key: many liars get less
// each, and never more memory.
const maxBuckets = 8192

// take reports whether it may happen once more for key.
func (p *pace[K]) take(key K, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.buckets[key]
	if b == nil {
		b = p.begin(key, now)
	}
	*b = p.refilled(*b, now)
	enough := b.left >= 1
	if enough {
		b.left--
	}
	return enough
}

// begin is the bucket of a key that has none yet: one of its own, or where there
// are too many, the one that is shared.
func (p *pace[K]) begin(key K, now time.Time) *bucket {
	if p.buckets == nil {
		p.buckets = map[K]*bucket{}
	}
	if len(p.buckets) >= maxBuckets && !p.sweep(now) {
		var shared K
		key = shared
		if b := p.buckets[key]; b != nil {
			return b
		}
	}
	b := &bucket{float64(p.limit), now}
	p.buckets[key] = b
	return b
}

func (p *pace[K]) refilled(b bucket, now time.Time) bucket {
	gained := float64(p.limit) * float64(max(0, now.Sub(b.at))) / float64(p.window)
	return bucket{min(float64(p.limit), b.left+gained), now}
}

// sweep forgets the keys whose bucket is full again, and reports whether there
// is room now. Once in a window is enough: a flood must not make it the work.
func (p *pace[K]) sweep(now time.Time) bool {
	if since := now.Sub(p.swept); since >= 0 && since < p.window {
		return false
	}
	p.swept = now
	for key, b := range p.buckets {
		if p.refilled(*b, now).left >= float64(p.limit) {
			delete(p.buckets, key)
		}
	}
	return len(p.buckets) < maxBuckets
}
