package dnsallow

import (
	"errors"
	"net/netip"
	"sync"
	"time"
)

// restTime is for how long an upstream that could not be reached is asked only
// after the others.
const restTime = 10 * time.Second

// health remembers which upstreams did not answer lately, so that a dead one
// costs one question its time-out and not every question.
type health struct {
	mu    sync.Mutex
	until map[netip.AddrPort]time.Time // of those that rest
}

// order puts the upstreams that rest behind the others; all of them stay.
func (h *health) order(servers []Upstream, now time.Time) []Upstream {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.until) == 0 {
		return servers
	}
	awake, resting := make([]Upstream, 0, len(servers)), []Upstream(nil)
	for _, u := range servers {
		if now.Before(h.until[u.addr]) {
			resting = append(resting, u)
		} else {
			awake = append(awake, u)
		}
	}
	return append(awake, resting...)
}

// note takes down how an attempt ended. Any answer shows that the upstream is
// there, be it SERVFAIL.
func (h *health) note(u Upstream, err error, now time.Time) {
	var code rcodeError
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil || errors.As(err, &code) {
		delete(h.until, u.addr)
		return
	}
	if h.until == nil {
		h.until = map[netip.AddrPort]time.Time{}
	}
	h.until[u.addr] = now.Add(restTime)
}
