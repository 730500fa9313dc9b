package keeper

import (
	"bytes"
	"io"
)

// copy carries the tunnel by two goroutines, as any two connections can be. A
// connection that cannot be closed by halves hears of the other's end only with
// the end of the tunnel. t.mu is held.
func (t *Tunnel) copy(early []byte) {
	for _, d := range []*direction{&t.up, &t.down} {
		first := bytes.Clone(early)
		early = nil
		t.busy++
		if !t.keeper.spawn(func() { d.copy(first) }) {
			t.busy--
			t.breakOff(Cut)
		}
	}
}

// copy carries one direction to its end.
func (d *direction) copy(first []byte) {
	into := &receiver{d: d}
	_, err := into.Write(first)
	if err == nil {
		_, err = io.Copy(into, d.from.conn)
	}
	t := d.tunnel
	t.mu.Lock()
	defer t.unlock()
	t.busy--
	switch {
	case into.failed:
		t.breakOff(t.leaving(d.to))
	case err != nil:
		t.breakOff(t.leaving(d.from))
	default:
		t.ended(d)
	}
}

// receiver counts what the receiving side takes. It has a Write and nothing
// else, or io.Copy would find a way around it.
type receiver struct {
	d      *direction
	failed bool
}

func (r *receiver) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := r.d.to.conn.Write(p)
	r.d.moved += int64(n)
	r.failed = err != nil
	if n > 0 {
		r.d.tunnel.touch(r.d.tunnel.keeper.now())
	}
	return n, err
}
