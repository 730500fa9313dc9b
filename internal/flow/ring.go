package flow

import "sync"

// Ring keeps the last decisions in memory, so that an id read out over the
// telephone can be explained. NewRing makes one; it is safe for concurrent use.
type Ring struct {
	mu   sync.Mutex
	kept []*Record
	next int
}

// NewRing makes a Ring of the last n Records.
func NewRing(n int) *Ring { return &Ring{kept: make([]*Record, n)} }

// Record implements Sink. The passage that was repeated is kept already.
func (g *Ring) Record(r *Record) {
	if r.Repeats > 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.kept[g.next] = r
	g.next = (g.next + 1) % len(g.kept)
}

// Find is the newest Record with this id, nil where it is not (or no longer)
// kept.
func (g *Ring) Find(id string) *Record {
	var found *Record
	g.walk(func(r *Record) bool {
		if r.ID == id {
			found = r
		}
		return found == nil
	})
	return found
}

// Recent is the newest Records, at most n, newest first.
func (g *Ring) Recent(n int) []*Record {
	var recent []*Record
	g.walk(func(r *Record) bool {
		if len(recent) < n {
			recent = append(recent, r)
		}
		return len(recent) < n
	})
	return recent
}

// walk calls f with every kept Record, newest first, until f returns false.
func (g *Ring) walk(f func(*Record) bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range g.kept {
		r := g.kept[(g.next-1-i+2*len(g.kept))%len(g.kept)]
		if r == nil || !f(r) {
			return
		}
	}
}
