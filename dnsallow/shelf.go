package dnsallow

import (
	"hash/maphash"
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
	sets [][shelfWays]atomic.Pointer[place]

	mu sync.Mutex // of those who change something
}

const (
	shelfWays = 4
	shelfSets = 2048 // a power of two
)

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
	return &shelf{seed: maphash.MakeSeed(), sets: make([][shelfWays]atomic.Pointer[place], shelfSets)}
}

func (sh *shelf) hash(key []byte) uint64 { return maphash.Bytes(sh.seed, key) }

// find returns what lies there for a key, nil where nothing does.
func (sh *shelf) find(key []byte) *place {
	hash := sh.hash(key)
	set := &sh.sets[hash%shelfSets]
	for i := range set {
		if p := set[i].Load(); p != nil && p.hash == hash && p.key == string(key) {
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
	best := &set[0]
	for i := range set {
		there := set[i].Load()
		if there != nil && there.hash == p.hash && there.key == p.key {
			best = &set[i]
			break
		}
		if old := best.Load(); old != nil && (there == nil || there.fold.ends.Before(old.fold.ends)) {
			best = &set[i]
		}
	}
	if old := best.Swap(p); old != nil && old.fold != p.fold {
		return old.fold
	}
	return nil
}

// each calls f with every fold. Where f returns true its place is cleared.
func (sh *shelf) each(f func(*fold) (done bool)) {
	for i := range sh.sets {
		for j := range sh.sets[i] {
			slot := &sh.sets[i][j]
			if p := slot.Load(); p != nil && f(p.fold) {
				slot.CompareAndSwap(p, nil)
			}
		}
	}
}

// reply is the hot path: the reply to a packet whose question this client was
// answered before, appended to dst, without a lock, an allocation or a look at
// anything but the packet. nil: not mine, ask respond.
func (sh *shelf) reply(dst, packet []byte, client netip.Addr, p *policy.Policy, now time.Time) []byte {
	a, ok := readAsk(packet)
	if !ok {
		return nil
	}
	var key askerKey
	key.set(client, packet, a.end)
	lies := sh.find(key.bytes())
	switch {
	case lies == nil || lies.answer == nil || lies.fold.policy != p || p == nil:
		return nil
	case !now.Before(lies.expires) || !lies.fold.again():
		return nil
	}
	return lies.answer.finish(dst, packet, a, lies.fold.record.ID, now)
}
