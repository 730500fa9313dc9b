package dnsallow

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// cache keeps facts by question, within a bound in bytes; the least recently
// asked go first. Expired facts stay for a day, for when no upstream answers
// (RFC 8767); older ones are dropped when they are asked for or pushed out: there
// is no janitor.
type cache struct {
	limit int64
	hits  atomic.Uint64 // counted by who asks: a look that finds the half of what it needs is none

	mu      sync.Mutex
	size    int64
	entries map[question]*entry
	ends    entry // of the ring of entries: the most recently asked behind it, the least before
}

// entry is what is kept of one question, and its neighbours by when they were
// asked for. (A list of package container/list would be two pieces of memory for
// each, and a third more.)
type entry struct {
	key          question
	facts        *facts
	newer, older *entry
	// renewed: somebody was told that the facts are ripe.
	renewed bool
}

// The bytes that one entry costs besides its names: map cell, entry, facts, and what
// lies unused between them, some fifth; and for each alias and address.
const (
	entryBytes   = 320
	aliasBytes   = 56
	addressBytes = 40
)

// newCache makes a cache of at most limit bytes; 0 keeps nothing.
func newCache(limit int64) *cache {
	c := &cache{limit: limit, entries: map[question]*entry{}}
	c.ends.newer, c.ends.older = &c.ends, &c.ends
	return c
}

// unlink takes an entry out of the ring.
func (e *entry) unlink() { e.newer.older, e.older.newer = e.older, e.newer }

// newest puts an entry where the most recently asked is.
func (c *cache) newest(e *entry) {
	e.newer, e.older = &c.ends, c.ends.older
	e.newer.older, e.older.newer = e, e
}

// get returns what holds now, nil where nothing does. ripe says, once, that it is
// time to renew it.
func (c *cache) get(q question, now time.Time) (f *facts, ripe bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[q]
	if e == nil {
		return nil, false
	}
	if e.facts.expired(now) {
		if e.facts.spoiled(now) {
			c.drop(e)
		}
		return nil, false
	}
	e.unlink()
	c.newest(e)
	ripe = !e.renewed && e.facts.renewable() && !now.Before(e.facts.ripeAt())
	e.renewed = e.renewed || ripe
	return e.facts, ripe
}

// old returns what is kept of q although it has expired, nil where nothing is.
func (c *cache) old(q question, now time.Time) *facts {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[q]; e != nil && !e.facts.spoiled(now) {
		return e.facts
	}
	return nil
}

// knows reports whether anything is kept of a name's addresses, expired or not.
func (c *cache) knows(name string, now time.Time) bool {
	return c.old(question{name, dns.TypeA}, now) != nil || c.old(question{name, dns.TypeAAAA}, now) != nil
}

func (c *cache) put(q question, f *facts) {
	size := cost(q, f)
	if size > c.limit {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[q]
	if e == nil {
		e = &entry{key: q}
		c.entries[q] = e
	} else {
		e.unlink()
		c.size -= cost(q, e.facts)
	}
	e.facts, e.renewed = f, false
	c.newest(e)
	for c.size += size; c.size > c.limit; {
		c.drop(c.ends.newer)
	}
}

func (c *cache) drop(e *entry) {
	e.unlink()
	delete(c.entries, e.key)
	c.size -= cost(e.key, e.facts)
}

func (c *cache) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.entries)
}

func cost(q question, f *facts) int64 {
	n := entryBytes + len(q.name) + addressBytes*len(f.addresses)
	for _, a := range f.aliases {
		n += aliasBytes + len(a.Name())
	}
	return int64(n)
}
