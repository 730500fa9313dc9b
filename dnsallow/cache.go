package dnsallow

import (
	"container/list"
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
	entries map[question]*list.Element // of *entry
	order   *list.List                 // most recently asked in front
}

type entry struct {
	key   question
	facts *facts
	size  int64
	// renewed: somebody was told that the facts are ripe.
	renewed bool
}

// The bytes that one entry costs besides its names: map cell, list element,
// entry, facts; and for each alias and address.
const (
	entryBytes   = 320
	aliasBytes   = 56
	addressBytes = 40
)

// newCache makes a cache of at most limit bytes; 0 keeps nothing.
func newCache(limit int64) *cache {
	return &cache{limit: limit, entries: map[question]*list.Element{}, order: list.New()}
}

// get returns what holds now, nil where nothing does. ripe says, once, that it is
// time to renew it.
func (c *cache) get(q question, now time.Time) (f *facts, ripe bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	el := c.entries[q]
	if el == nil {
		return nil, false
	}
	e := el.Value.(*entry)
	if e.facts.expired(now) {
		if e.facts.spoiled(now) {
			c.drop(el)
		}
		return nil, false
	}
	c.order.MoveToFront(el)
	ripe = !e.renewed && e.facts.renewable() && !now.Before(e.facts.ripeAt())
	e.renewed = e.renewed || ripe
	return e.facts, ripe
}

// old returns what is kept of q although it has expired, nil where nothing is.
func (c *cache) old(q question, now time.Time) *facts {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el := c.entries[q]; el != nil {
		if f := el.Value.(*entry).facts; !f.spoiled(now) {
			return f
		}
	}
	return nil
}

// knows reports whether anything is kept of a name's addresses, expired or not.
func (c *cache) knows(name string, now time.Time) bool {
	return c.old(question{name, dns.TypeA}, now) != nil || c.old(question{name, dns.TypeAAAA}, now) != nil
}

func (c *cache) put(q question, f *facts) {
	e := &entry{key: q, facts: f, size: cost(q, f)}
	if e.size > c.limit {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.entries[q]; old != nil {
		c.drop(old)
	}
	c.entries[q] = c.order.PushFront(e)
	for c.size += e.size; c.size > c.limit; {
		c.drop(c.order.Back())
	}
}

func (c *cache) drop(el *list.Element) {
	e := c.order.Remove(el).(*entry)
	delete(c.entries, e.key)
	c.size -= e.size
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
