package proxy

import (
	"io"

	"gatehouse/internal/flow"
	"gatehouse/proxy/keeper"
)

// relay gives both connections to the keeper, and with them all that is still to
// be done when the tunnel is over: nobody waits for it. They are given bare:
// wrapped for counting they would lose splice(2) and the keeper's own way, so
// octets are counted there.
func (t *tunnel) relay(early []byte) {
	e, c := t.e, t.e.client
	kept := e.server.keeper.Join(c.conn, t.origin, func(r keeper.Result) { e.tunnelOver(r) })
	c.kept, t.origin = true, nil // the keeper's to close
	// Known before it is open: a cut that comes in between must find it.
	far := io.Closer(kept)
	e.far.Store(&far)
	kept.Open(early)
	c.letGo()
}

// tunnelOver closes the book on a tunnel, on whatever goroutine came to its end.
func (e *exchange) tunnelOver(r keeper.Result) {
	e.passage.note(func(rec *flow.Record) { rec.Sent, rec.Received = r.Sent, r.Received })
	e.passage.end(r.End.String())
	e.server.gone(e.client)
}
