package keeper

import (
	"sync"
	"time"
)

// Keeper looks after tunnels. Make one with New and close it when no more
// tunnels come.
type Keeper struct {
	idle time.Duration
	born time.Time // the clock counts from here

	mu      sync.Mutex
	started bool
	closed  bool
	tunnels map[uint64]*Tunnel // the open ones
	last    uint64             // the latest number given to a tunnel or to a Conn; none is given twice
	// expected are who waits for news of a Conn that is being opened, by number.
	expected map[uint64]chan struct{}
	asked    bool // for a set
	set      *set // nil where there is none
	stop     chan struct{}
	running  sync.WaitGroup
}

// New makes a keeper whose tunnels end when neither direction has moved a byte
// for idle (an hour, where it is not above zero). It starts nothing: the first
// tunnel does.
func New(idle time.Duration) *Keeper {
	if idle <= 0 {
		idle = time.Hour
	}
	return &Keeper{
		idle: idle, born: time.Now(), stop: make(chan struct{}),
		tunnels: map[uint64]*Tunnel{}, expected: map[uint64]chan struct{}{},
	}
}

// Close breaks off the tunnels that are open, and waits for everything the
// keeper has started. Tunnels opened later are broken off at once.
func (k *Keeper) Close() error {
	k.mu.Lock()
	first := !k.closed
	k.closed = true
	open := k.those(func(*Tunnel) bool { return true })
	set := k.set
	k.mu.Unlock()
	for _, t := range open {
		t.Close()
	}
	if first {
		close(k.stop)
		set.close()
	}
	k.running.Wait()
	return nil
}

// admit gives a tunnel its number, and starts the sweeper.
func (k *Keeper) admit(t *Tunnel) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return false
	}
	if !k.started {
		k.started = true
		k.running.Go(k.sweepNowAndThen)
	}
	k.last++
	t.number = k.last
	k.tunnels[t.number] = t
	return true
}

// theSet is the set of the keeper, which the first who needs it starts; nil where
// the system gives none.
func (k *Keeper) theSet() *set {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.asked && !k.closed {
		k.asked = true
		if k.set = newSet(); k.set != nil {
			k.running.Go(k.watch)
		}
	}
	return k.set
}

// spawn starts a goroutine that Close waits for. It reports false once Close has
// been called.
func (k *Keeper) spawn(work func()) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.closed {
		k.running.Go(work)
	}
	return !k.closed
}

// find is the open tunnel of a number; nil if it has ended.
func (k *Keeper) find(number uint64) *Tunnel {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.tunnels[number]
}

func (k *Keeper) forget(number uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.tunnels, number)
}

// those are the open tunnels that a test picks. k.mu is held, so the tunnels'
// own locks may not be taken.
func (k *Keeper) those(pick func(*Tunnel) bool) (list []*Tunnel) {
	for _, t := range k.tunnels {
		if pick(t) {
			list = append(list, t)
		}
	}
	return list
}

// now is the time by the keeper's clock.
func (k *Keeper) now() time.Duration { return time.Since(k.born) }

// sweepNowAndThen stands in for a timer in every tunnel.
func (k *Keeper) sweepNowAndThen() {
	tick := time.NewTicker(min(max(k.idle/8, time.Millisecond), 15*time.Second))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			k.sweep(k.now())
		case <-k.stop:
			return
		}
	}
}

// sweep ends the tunnels that are idle at that time, and has the peers of those that
// have come to stay asked whether they are there. Most tunnels are over sooner.
func (k *Keeper) sweep(now time.Duration) {
	k.mu.Lock()
	idle := k.those(func(t *Tunnel) bool { return t.idleAt(now) })
	stay := k.those(func(t *Tunnel) bool {
		first := !t.seen
		t.seen = true
		return first && t.dialled
	})
	k.mu.Unlock()
	for _, t := range idle {
		t.expire(now)
	}
	for _, t := range stay {
		t.keepAlive()
	}
}
