package dnsallow

import (
	"errors"
	"math/bits"
	"slices"
	"sync"
	"time"
)

// restTime is for how long an upstream that did not answer is asked only after
// the others.
const restTime = 10 * time.Second

// health remembers how the upstreams have answered lately, so that a dead one
// costs one question its time-out and not every question, and the quick one is
// asked first.
type health struct {
	mu   sync.Mutex
	seen map[Upstream]condition
}

// condition is what is known of one upstream.
type condition struct {
	restsUntil time.Time
	took       time.Duration // smoothed; 0: not known
	measured   time.Time
}

// forgetTime is for how long a measurement counts: then the upstream is as good
// as new, for a slow one is not asked and would never show that it is better.
const forgetTime = time.Minute

// order puts the quick ones in front and those that rest behind; all of them
// stay. Only a difference of about two to one or more counts: below, the order
// of the configuration does.
func (h *health) order(servers []Upstream, now time.Time) []Upstream {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(servers) < 2 || len(h.seen) == 0 {
		return servers
	}
	rank := func(u Upstream) int {
		c := h.seen[u]
		switch {
		case now.Before(c.restsUntil):
			return 1 << 10
		case now.Sub(c.measured) >= forgetTime:
			return 0
		}
		return bits.Len64(uint64(c.took / (4 * time.Millisecond)))
	}
	ordered := slices.Clone(servers)
	slices.SortStableFunc(ordered, func(a, b Upstream) int { return rank(a) - rank(b) })
	return ordered
}

// note takes down how an attempt ended. Any answer shows that the upstream is
// there, be it SERVFAIL.
func (h *health) note(u Upstream, took time.Duration, err error, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.seen[u]
	switch {
	case err != nil && !answeredAtAll(err):
		c.restsUntil = now.Add(restTime)
	case now.Sub(c.measured) >= forgetTime:
		c = condition{took: took, measured: now}
	default:
		c = condition{took: (7*c.took + took) / 8, measured: now}
	}
	h.keep(u, c)
}

func answeredAtAll(err error) bool {
	var code rcodeError
	return errors.As(err, &code)
}

// slow has the upstream rest that let the next one be asked.
func (h *health) slow(u Upstream, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.seen[u]
	c.restsUntil = now.Add(restTime)
	h.keep(u, c)
}

func (h *health) keep(u Upstream, c condition) {
	if h.seen == nil {
		h.seen = map[Upstream]condition{}
	}
	h.seen[u] = c
}
