package console

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

// How drafts and backups are kept from costing the gate anything: each may be many
// megabytes, and a draft of hundreds of thousands of rules takes seconds of a processor
// and hundreds of megabytes to be weighed.
const (
	// mostHeld is how many of them are read, or wait for their turn, at once.
	mostHeld = 4
	// turnTime is how long one waits to be read.
	turnTime = 20 * time.Second
)

// turns lets one piece of heavy work be done at a time. newTurns makes one.
type turns struct {
	held chan struct{} // has been read, or is being read
	turn chan struct{} // is being worked on
	wait time.Duration // turnTime, but in tests
}

func newTurns() turns {
	return turns{held: make(chan struct{}, mostHeld), turn: make(chan struct{}, 1), wait: turnTime}
}

// errBusy is for whoever asked.
var errBusy = errors.New("other drafts or backups are being looked at; try again in a moment")

// inTurn reads the body of a request, at most so many octets, and hands it on when
// nobody else's work is being done; whoever sends slowly keeps nobody from his turn. A
// body that is too long, or ends early, fails the one who reads it.
func (t turns) inTurn(most int64, h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), t.wait)
		defer cancel()
		if !take(ctx, t.held) {
			w.Header().Set("Retry-After", "10")
			trouble(w, http.StatusServiceUnavailable, errBusy)
			return
		}
		defer func() { <-t.held }()
		text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
		r.Body = io.NopCloser(&read{bytes.NewReader(text), err})
		if !take(r.Context(), t.turn) {
			return // nobody waits for it any more
		}
		defer func() { <-t.turn }()
		h(w, r)
	}
}

// take takes a place, or reports false once ctx is done.
func take(ctx context.Context, places chan struct{}) bool {
	select {
	case places <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// read is what was read of a body, and how that ended.
type read struct {
	text *bytes.Reader
	err  error // nil: well
}

func (b *read) Read(p []byte) (int, error) {
	n, err := b.text.Read(p)
	if errors.Is(err, io.EOF) && b.err != nil {
		err = b.err
	}
	return n, err
}
