package dnsallow

import (
	"hash/maphash"
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/policy"
)

// shelf keeps, for each client and question, the fold of its repeats and the
// judged answer. An answer lies there for the client it was judged for, and is
// good for the policy that judged it; so nobody is ever given what was judged
// for somebody else. Its places are fixed in number, four for each value of the
// hash; looking something up takes no lock.
type shelf struct {
	seed maphash.Seed
	sets []board

	mu sync.Mutex // of those who change something
}

const (
	shelfWays = 4
	shelfSets = 2048 // a power of two
)

// board is the places of one value of the hash. What tells them apart at a glance
// stands beside them: most questions that come find nothing, and would have to
// look into four places, each somewhere else in memory, to learn it.
type board struct {
	marks  [shelfWays]atomic.Uint32 // of the hash of what lies there, or has lain there
	places [shelfWays]atomic.Pointer[place]
	ends   [shelfWays]int64 // of their folds, in nanoseconds; under mu
}

// place is what one client was told about one question. It is immutable but for
// the counts of its fold.
type place struct {
	hash uint64
	key  string
	fold *fold
	// answer is nil where it must be made anew each time. It is good until
	// expires.
	answer  *draft
	expires time.Time
}

func newShelf() *shelf {
	return &shelf{seed: maphash.MakeSeed(), sets: make([]board, shelfSets)}
}

// key makes the key of a packet whose question ends at end.
func (sh *shelf) key(k *askerKey, client netip.Addr, packet []byte, end int) {
	k.set(client, packet, end)
	k.hash = sh.hash(k.bytes())
}

func (sh *shelf) hash(key []byte) uint64 { return maphash.Bytes(sh.seed, key) }

// mark is the half of a hash that its set does not follow from.
func mark(hash uint64) uint32 { return uint32(hash >> 32) }

// under returns what lies there for a key and its hash, nil where nothing does.
func (sh *shelf) under(hash uint64, key []byte) *place {
	set := &sh.sets[hash%shelfSets]
	for i := range set.marks {
		if set.marks[i].Load() != mark(hash) {
			continue
		}
		if p := set.places[i].Load(); p != nil && p.hash == hash && p.key == string(key) {
			return p
		}
	}
	return nil
}

// put lays p into the place of its key, an empty one, or that of the fold that
// ends first. It returns what lay there and has to be closed.
func (sh *shelf) put(p *place) (before *fold) {
	set := &sh.sets[p.hash%shelfSets]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	best := sh.best(set, p)
	set.marks[best].Store(mark(p.hash))
	set.ends[best] = p.fold.ends.UnixNano()
	if old := set.places[best].Swap(p); old != nil && old.fold != p.fold {
		return old.fold
	}
	return nil
}

func (sh *shelf) best(set *board, p *place) (best int) {
	for i := range set.places {
		there := set.places[i].Load()
		switch {
		case there != nil && set.marks[i].Load() == mark(p.hash) && there.hash == p.hash && there.key == p.key:
			return i
		case there == nil:
			set.ends[i] = math.MinInt64
		}
		if set.ends[i] < set.ends[best] {
			best = i
		}
	}
	return best
}

// each calls f with every fold. Where f returns true its place is cleared.
func (sh *shelf) each(f func(*fold) (done bool)) {
	for i := range sh.sets {
		for j := range sh.sets[i].places {
			slot := &sh.sets[i].places[j]
			if p := slot.Load(); p != nil && f(p.fold) {
				slot.CompareAndSwap(p, nil)
			}
		}
	}
}

// reply is the hot path: the reply to a packet whose question this client was
// answered before, appended to dst, without a lock, an allocation or a look at
// anything but the packet. nil: not mine, ask respond; key is then that of the
// packet, if it has one.
func (sh *shelf) reply(dst, packet []byte, client netip.Addr, p *policy.Policy, now time.Time, key *askerKey) []byte {
	a, ok := readAsk(packet)
	if !ok {
		return nil
	}
	sh.key(key, client, packet, a.end)
	lies := sh.under(key.hash, key.bytes())
	switch {
	case lies == nil || lies.answer == nil || lies.fold.policy != p || p == nil:
		return nil
	case !now.Before(lies.expires) || !lies.fold.again():
		return nil
	}
	return lies.answer.finish(dst, packet, a, lies.fold.record.ID, now)
}
