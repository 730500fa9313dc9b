package metrics

import (
	"maps"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse/policy"
)

// Finding a series by its labels costs thirty times what counting in it does, so
// those that each passage counts in are found once and held.

// held are the series of what lasts on a surface: exchanges and tunnels.
type held struct {
	open           prometheus.Gauge
	firstByte      prometheus.Observer
	sent, received prometheus.Counter
}

// perSurface is what is held of each surface, from its first passage on.
type perSurface[T any] [8]atomic.Pointer[T]

func (p *perSurface[T]) of(s policy.Surface, find func(name string) T) *T {
	place := &p[int(s)%len(p)]
	if found := place.Load(); found != nil {
		return found
	}
	found := find(s.String())
	place.Store(&found)
	return &found
}

func (t *Tally) lasting(s policy.Surface) *held { return t.held.of(s, t.findLasting) }

func (t *Tally) findLasting(name string) held {
	return held{
		open: t.open.WithLabelValues(name), firstByte: t.firstByte.WithLabelValues(name),
		sent: t.relayed.WithLabelValues(name, "sent"), received: t.relayed.WithLabelValues(name, "received"),
	}
}

func (t *Tally) durations(s policy.Surface) prometheus.Observer {
	return *t.took.of(s, func(name string) prometheus.Observer { return t.duration.WithLabelValues(name) })
}

// decision is what tells the series of gatehouse_decisions_total apart.
type decision struct {
	surface policy.Surface
	effect  policy.Effect
	would   bool
	reason  policy.Reason
	rule    string // as it is, not as it is told
}

// decisions holds counters. Those of the first rules are held, as they have
// series of their own; the others are found anew each time.
type decisions struct {
	mu   sync.Mutex
	held atomic.Pointer[map[decision]prometheus.Counter]
}

// decision is the counter of a passage's last verdict.
func (t *Tally) decision(s policy.Surface, v policy.Verdict) prometheus.Counter {
	d := decision{s, v.Effect, v.Would, v.Reason, v.RuleName()}
	if m := t.counters.held.Load(); m != nil {
		if c, ok := (*m)[d]; ok {
			return c
		}
	}
	label := t.rules.label(d.rule)
	c := t.decisions.WithLabelValues(s.String(), v.String(), label, v.Reason.String())
	if label == d.rule {
		t.counters.hold(d, c)
	}
	return c
}

func (h *decisions) hold(d decision, c prometheus.Counter) {
	h.mu.Lock()
	defer h.mu.Unlock()
	next := map[decision]prometheus.Counter{}
	if m := h.held.Load(); m != nil {
		next = maps.Clone(*m)
	}
	next[d] = c
	h.held.Store(&next)
}
