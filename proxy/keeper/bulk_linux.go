package keeper

import (
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// quiet is how long a goroutine waits for more, with its pipe in hand.
	quiet = 250 * time.Millisecond
	// grace is how long a receiver that is full may take to make room for the
	// last bytes of a sender that has been reset.
	grace = time.Second
)

// giveAway lets a goroutine carry the direction, which begins with the rest of a
// piece that its receiver did not take. t.mu is held.
func (d *direction) giveAway(rest []byte) {
	t := d.tunnel
	lost := t.dress()
	// This may fail only where the connection is closed or was not taken into
	// the set, and both are found out by the goroutine.
	t.keeper.set.change(d.from, d.key(), onlyErrors)
	d.away = true
	t.busy++
	if !t.keeper.spawn(func() { d.carry(rest) }) {
		d.away = false
		t.busy--
		t.breakOff(Cut)
	}
	if lost && !t.over && !t.down.away && !t.down.over {
		t.down.giveAway(nil)
	}
}

// carry moves bulk until the direction ends or is silent.
func (d *direction) carry(rest []byte) {
	n, err := 0, error(nil)
	if len(rest) > 0 {
		n, err = d.to.conn.Write(rest)
		d.report(int64(n))
	}
	for err == nil || !d.giveBack(err) {
		err = d.splice()
	}
}

// splice moves what comes for a moment. The connections are bare, so that io.Copy
// can use splice(2), which moves bulk at half the processor time; it holds a pipe as
// long as it runs, and therefore must not wait for long.
func (d *direction) splice() error {
	d.from.conn.SetReadDeadline(time.Now().Add(min(quiet, d.tunnel.keeper.idle/4)))
	n, err := io.Copy(d.to.conn, d.from.conn)
	d.report(n)
	switch {
	case err == nil:
		return io.EOF
	case n > 0 && errors.Is(err, os.ErrDeadlineExceeded) && !d.isDoomed():
		return nil
	}
	return err
}

// report counts what was moved.
func (d *direction) report(n int64) {
	d.moved += n
	if n > 0 {
		d.tunnel.touch(d.tunnel.keeper.now())
	}
}

// giveBack ends the goroutine's work on the direction because of err; not,
// where the set does not take it.
func (d *direction) giveBack(err error) bool {
	t := d.tunnel
	t.mu.Lock()
	defer t.unlock()
	switch {
	case t.over:
	case err == io.EOF && !d.doomed:
		t.ended(d)
	case errors.Is(err, os.ErrDeadlineExceeded) && !d.doomed:
		d.from.conn.SetReadDeadline(time.Time{})
		if t.keeper.set.change(d.from, d.key(), everything) != nil {
			return false
		}
	default:
		t.breakOff(t.leaving(d.culprit()))
	}
	d.away = false
	t.busy--
	return true
}

// doom is called when the sender was reset while the direction is away. The
// goroutine will find it out, having passed on what came before, unless its
// receiver is full; that one gets a little time. t.mu is held.
func (d *direction) doom() {
	if d.doomed {
		return
	}
	d.doomed = true
	d.to.conn.SetWriteDeadline(time.Now().Add(grace))
}

func (d *direction) isDoomed() bool {
	d.tunnel.mu.Lock()
	defer d.tunnel.mu.Unlock()
	return d.doomed
}

// culprit is the side whose connection has failed: the error of a splice does not
// tell.
func (d *direction) culprit() *side {
	if d.doomed || failed(d.from) {
		return d.from
	}
	return d.to
}

// failed reports whether the kernel has given the connection up, or somebody has
// closed it.
func failed(s *side) bool {
	const closed = 7 // TCP_CLOSE of the kernel's tcp_states.h
	var info *unix.TCPInfo
	var err error
	outer := s.raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	return outer != nil || err == nil && info.State == closed
}
