package keeper

import (
	"bytes"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"gatehouse/internal/epoll"
	"gatehouse/internal/nowait"
)

const (
	pieceSize = 64 << 10
	// A direction that in one turn brings so much, or so many pieces, would
	// keep the other tunnels waiting: it gets a goroutine of its own.
	turnOctets = 2 * pieceSize
	turnPieces = 16
)

// keep puts both connections into the set. It reports false, having done nothing,
// where they or the system are not made for it. t.mu is held.
func (t *Tunnel) keep(early []byte) bool {
	if t.client.raw == nil || t.origin.raw == nil && !t.origin.bare || t.keeper.theSet() == nil {
		return false
	}
	rest, ok := t.sendEarly(early)
	if !ok {
		t.breakOff(OriginClosed)
		return true
	}
	t.up.enter(rest)
	t.down.enter(nil)
	return true
}

// sendEarly writes what the origin's socket takes at once and returns the rest.
func (t *Tunnel) sendEarly(early []byte) (rest []byte, ok bool) {
	if len(early) == 0 {
		return nil, true
	}
	h := newHand(early)
	n, err := h.write(&t.origin, len(early))
	t.up.moved = int64(n)
	return bytes.Clone(early[n:]), err == nil
}

// enter puts the direction's source into the set. Where something is still to be
// written, or the set takes no more, a goroutine carries the direction.
func (d *direction) enter(rest []byte) {
	t := d.tunnel
	err := t.keeper.set.watch(d.from, d.key(), everything)
	if (err != nil || len(rest) > 0) && !t.over {
		d.giveAway(rest)
	}
}

// key stands for the direction in events. Tunnels' numbers are not given twice,
// so an event of a descriptor that has been closed leads to nobody, whatever
// else its number was given to.
func (d *direction) key() uint64 {
	if d == &d.tunnel.down {
		return d.tunnel.number<<1 | 1
	}
	return d.tunnel.number << 1
}

// directionOf is the open direction of a key, or nil.
func (k *Keeper) directionOf(key uint64) *direction {
	switch t := k.find(key >> 1); {
	case t == nil:
		return nil
	case key&1 == 1:
		return &t.down
	default:
		return &t.up
	}
}

// watch waits for the set and carries what comes, until the keeper is closed.
func (k *Keeper) watch() {
	h := newHand(make([]byte, pieceSize))
	k.set.Wait(func(events []unix.EpollEvent) (left bool) {
		now := k.now()
		for i := range events {
			key := epoll.Key(&events[i])
			if d := k.directionOf(key); d != nil {
				d.turn(h, interest(events[i].Events), now)
			} else {
				k.tell(key)
			}
		}
		return false
	})
}

// turn answers an event of the direction's source.
func (d *direction) turn(h *hand, news interest, now time.Duration) {
	t := d.tunnel
	t.mu.Lock()
	defer t.unlock()
	if !t.over && !d.away && !d.over {
		d.move(h, news, now)
	}
	switch {
	case news&unix.EPOLLERR == 0 || t.over:
	case d.away:
		d.doom()
	case d.over:
		// It has said all and is gone before it heard the answer. Reading
		// finds the end and not the reset, even where both came together.
		t.breakOff(t.leaving(d.from))
	}
}

// move carries what has come, until nothing more is there: the set will not tell
// of it again. t.mu is held.
func (d *direction) move(h *hand, news interest, now time.Duration) {
	t := d.tunnel
	for octets, pieces := 0, 0; octets < turnOctets && pieces < turnPieces; pieces++ {
		n, err := h.read(d.from)
		switch {
		case err == unix.EAGAIN:
			return
		case err != nil:
			t.breakOff(t.leaving(d.from))
			return
		case n == 0:
			t.ended(d)
			return
		}
		written, err := h.write(d.to, n)
		d.moved += int64(written)
		t.touch(now)
		switch {
		case err != nil:
			t.breakOff(t.leaving(d.to))
			return
		case written < n:
			d.giveAway(bytes.Clone(h.buf[written:n]))
			return
		}
		if octets += n; n < len(h.buf) && news == onlyData {
			return
		}
	}
	d.giveAway(nil)
}

// onlyData is news after which a read that does not fill its buffer has taken all
// there was (epoll(7), question 9), and no other is needed to see that. Not so
// beside an end, or beside urgent data, at which a read stops short.
const onlyData interest = unix.EPOLLIN

// hand makes one system call at a time, always inside a callback of the
// connection: there the descriptor is the connection's for certain.
type hand struct {
	buf       []byte
	n         int
	errno     syscall.Errno
	get, give func(fd uintptr) // made once, or each call would allocate
}

func newHand(buf []byte) *hand {
	h := &hand{buf: buf}
	h.get = func(fd uintptr) { h.n, h.errno = nowait.Read(fd, h.buf) }
	h.give = func(fd uintptr) { h.n, h.errno = nowait.Write(fd, h.buf[:h.n]) }
	return h
}

// read fills the buffer with what is there; EAGAIN where nothing is, 0 at the
// end.
func (h *hand) read(s *side) (int, error) {
	if err := s.do(h.get); err != nil {
		return 0, err
	}
	if h.errno != 0 {
		return 0, h.errno
	}
	return h.n, nil
}

// write sends the first n bytes of the buffer and returns how many were taken:
// fewer than n where the peer is full, which is no error.
func (h *hand) write(s *side, n int) (int, error) {
	h.n = n
	err := s.do(h.give)
	switch {
	case err != nil:
		return 0, err
	case h.errno == unix.EAGAIN:
		return 0, nil
	case h.errno != 0:
		return 0, h.errno
	}
	return h.n, nil
}
