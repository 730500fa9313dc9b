package dnsallow

import "time"

// Standing is how an upstream has answered lately.
type Standing struct {
	Upstream string
	Rests    bool          // it did not answer, and is asked after the others for now
	Took     time.Duration // smoothed; 0: it has not answered within the last minute
}

// Standings tell of each upstream that questions go to, without asking any.
func (r *Resolver) Standings() []Standing {
	h, now, upstreams := &r.exchanger.health, r.now(), *r.upstreams.Load()
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]Standing, len(upstreams))
	for i, u := range upstreams {
		c := h.seen[u]
		list[i] = Standing{Upstream: u.String(), Rests: now.Before(c.restsUntil)}
		if now.Sub(c.measured) < forgetTime {
			list[i].Took = c.took
		}
	}
	return list
}
