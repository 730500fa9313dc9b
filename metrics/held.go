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

// found holds series by what tells them apart, for as long as the process lives:
// only for keys of which there are few. The zero value is ready.
type found[K comparable, S any] struct {
	mu   sync.Mutex
	held atomic.Pointer[map[K]S]
}

func (f *found[K, S]) get(key K) (series S, ok bool) {
	if m := f.held.Load(); m != nil {
		series, ok = (*m)[key]
	}
	return series, ok
}

func (f *found[K, S]) hold(key K, series S) {
	f.mu.Lock()
	defer f.mu.Unlock()
	next := map[K]S{}
	if m := f.held.Load(); m != nil {
		next = maps.Clone(*m)
	}
	next[key] = series
	f.held.Store(&next)
}

// decision is the counter of a passage's last verdict. Those of the first rules
// are held, as they have series of their own; the others are found anew each time.
func (t *Tally) decision(s policy.Surface, v policy.Verdict) prometheus.Counter {
	d := decision{s, v.Effect, v.Would, v.Reason, v.RuleName()}
	if c, ok := t.verdicts.get(d); ok {
		return c
	}
	label := t.rules.label(d.rule)
	c := t.decisions.WithLabelValues(s.String(), v.String(), label, v.Reason.String())
	if label == d.rule {
		t.verdicts.hold(d, c)
	}
	return c
}

// asked is what tells the series of gatehouse_dns_queries_total apart.
type asked struct {
	effect policy.Effect
	would  bool
	qtype  string // of the fixed list
}

// query is the counter of the DNS questions of a type that came to a verdict.
func (t *Tally) query(v policy.Verdict, qtype string) prometheus.Counter {
	key := asked{v.Effect, v.Would, queryType(qtype)}
	c, ok := t.questions.get(key)
	if !ok {
		c = t.queries.WithLabelValues(v.String(), key.qtype)
		t.questions.hold(key, c)
	}
	return c
}

// answering are the series of one upstream DNS server: how long it took, and how
// often in vain.
type answering struct {
	took   prometheus.Observer
	failed prometheus.Counter
}

// answers are the series of an upstream, both there from its first answer on, so
// that the first failure is a rise.
func (t *Tally) answers(upstream string) answering {
	a, ok := t.answered.get(upstream)
	if !ok {
		a = answering{t.upstream.WithLabelValues(upstream), t.failures.WithLabelValues(upstream)}
		t.answered.hold(upstream, a)
	}
	return a
}
