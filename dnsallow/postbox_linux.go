package dnsallow

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"gatehouse/internal/epoll"
)

// postbox waits for the answers to questions for which no goroutine waits. Their
// sockets are in an epoll set of its own: one goroutine reads what has come, and
// nothing is made for a question: it gets a socket that another has done with, and
// a port of its own.
type postbox struct {
	set *epoll.Set

	mu       sync.Mutex // locked after that of a courier
	couriers []*courier // by the number that the set tells of them; nil: it is free
	free     []int32
	idle     map[int][]*courier // by family: those that carry no question
	rings    time.Time          // when the goroutine is woken to look for those that take too long; zero: it is not
	hurried  bool

	room [payload]byte // for packets; a longer one is none that was asked for
}

// idleCouriers is how many sockets of a family are kept for the next questions.
const idleCouriers = 64

// newPostbox makes a postbox; nil where the system has no room for one.
func newPostbox() *postbox {
	set, err := epoll.New("questions")
	if err != nil {
		return nil
	}
	return &postbox{set: set, idle: map[int][]*courier{}}
}

// post sends a dispatch off from a source port of its own. Until a moment its
// answer is waited for. Where there is an error nothing is kept.
func (b *postbox) post(d *dispatch, query []byte, to netip.AddrPort, until time.Time) error {
	c, err := b.take(familyOf(to))
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err = c.send(query, to); err == nil {
		err = b.awaits(until)
	}
	if err != nil {
		b.close(c)
		return err
	}
	c.carries, c.until = d, until // not before: from now on d is the goroutine's
	return nil
}

// take is a courier that carries nothing, one that lay idle or a new one.
func (b *postbox) take(family int) (*courier, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if idle := b.idle[family]; len(idle) > 0 {
		c := idle[len(idle)-1]
		b.idle[family] = idle[:len(idle)-1]
		return c, nil
	}
	c, err := newCourier(family)
	if err != nil {
		return nil, err
	}
	if len(b.free) == 0 {
		b.couriers = append(b.couriers, nil)
		b.free = append(b.free, int32(len(b.couriers)-1))
	}
	c.number = b.free[len(b.free)-1]
	if err := b.set.Control(unix.EPOLL_CTL_ADD, c.fd, uint64(c.number), unix.EPOLLIN); err != nil {
		c.close()
		return nil, err
	}
	b.free = b.free[:len(b.free)-1]
	b.couriers[c.number] = c
	return c, nil
}

// awaits has the goroutine look for what takes too long.
func (b *postbox) awaits(until time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.hurried {
		return os.ErrClosed
	}
	if b.rings.IsZero() {
		b.ring(until)
	}
	return nil
}

// giveUp takes a courier out of the table. Its socket is the caller's.
func (b *postbox) giveUp(c *courier) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.couriers[c.number] = nil
	b.free = append(b.free, c.number)
}

// close closes a courier, which takes it out of the set.
func (b *postbox) close(c *courier) {
	b.giveUp(c)
	c.close()
}

// keep keeps a courier that carries nothing any more for the next question, if
// its port is free again and there is room.
func (b *postbox) keep(c *courier) {
	if !c.leavePort() || !b.shelve(c) {
		b.close(c)
	}
}

// shelve reports whether there was room for a courier among the idle ones.
func (b *postbox) shelve(c *courier) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	idle := b.idle[c.family]
	if len(idle) >= idleCouriers {
		return false
	}
	b.idle[c.family] = append(idle, c)
	return true
}

// ring has the goroutine woken at a moment.
func (b *postbox) ring(at time.Time) {
	b.rings = at
	b.set.SetDeadline(at)
}

// run reads what comes until the postbox is closed.
func (b *postbox) run() {
	receive := func(events []unix.EpollEvent) (left bool) {
		for i := range events {
			b.receive(int32(epoll.Key(&events[i])))
		}
		return true
	}
	for {
		err := b.set.Wait(receive)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		b.giveBack()
	}
}

// receive reads one packet; what else has come the set will tell of again.
func (b *postbox) receive(number int32) {
	b.mu.Lock()
	c := b.couriers[number] // an event of the same batch may have ended it
	b.mu.Unlock()
	if c == nil {
		return
	}
	d, n, err := c.receive(b.room[:])
	if d == nil || n < 0 && err == nil {
		return
	}
	f, reply, err := d.hear(b.room[:max(n, 0)], err)
	if f == nil && reply == nil && err == nil {
		return
	}
	c.mu.Lock()
	c.carries = nil
	b.keep(c)
	c.mu.Unlock()
	if f != nil {
		d.answered(f)
		return
	}
	d.settled(reply, err)
}

// giveBack takes out those that take too long, for others to wait for them.
func (b *postbox) giveBack() {
	b.mu.Lock()
	b.ring(time.Time{})
	couriers, hurried := slices.Clone(b.couriers), b.hurried
	b.mu.Unlock()
	var next time.Time
	now := time.Now()
	for _, c := range couriers {
		if c == nil {
			continue
		}
		d, until := c.late(now, hurried)
		if d != nil {
			b.handOver(c, d)
		} else if !until.IsZero() && (next.IsZero() || until.Before(next)) {
			next = until
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !next.IsZero() && (b.rings.IsZero() || next.Before(b.rings)) {
		b.ring(next)
	}
}

// handOver has a goroutine wait for what d asked.
func (b *postbox) handOver(c *courier, d *dispatch) {
	b.giveUp(c)
	b.set.Control(unix.EPOLL_CTL_DEL, c.fd, 0, 0)
	d.letter.socket = os.NewFile(c.fd, "udp")
	d.late()
}

// hurry gives back all that are under way, and takes no more.
func (b *postbox) hurry() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hurried = true
	b.ring(past)
}

// serve runs the postbox, and has it hurry when ctx ends, until stop is called.
// Then nothing may be under way.
func (b *postbox) serve(ctx context.Context) (stop func()) {
	var running sync.WaitGroup
	running.Go(b.run)
	heed := context.AfterFunc(ctx, b.hurry)
	return func() {
		heed()
		b.set.Close()
		running.Wait()
		for _, c := range b.couriers {
			if c != nil {
				c.close()
			}
		}
	}
}
