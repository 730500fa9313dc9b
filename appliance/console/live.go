package console

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// How a live view is kept from costing the gate anything.
const (
	// beat is how often a word goes out where nothing is decided: who has left is
	// found out by it.
	beat = 15 * time.Second
	// stall is how long one piece may take to go out; who takes nothing is dropped.
	stall = 10 * time.Second
	// breath is the least time between two pieces, and mostAtOnce how many decisions
	// go in one: nobody reads faster, and each costs some microseconds to render.
	breath     = 250 * time.Millisecond
	mostAtOnce = 50
	// longestLook ends a view, for a browser to begin another: a login is asked for
	// again, also where nobody has seen that it was taken away.
	longestLook = 10 * time.Minute
)

// live streams decisions as rows of the page (server-sent events, HTML section
// 9.2).
func (c *Console) live(w http.ResponseWriter, r *http.Request) {
	c.follow(w, r, func(b *bytes.Buffer, d Decision) error {
		return pages()["pages/decisions.html"].ExecuteTemplate(b, "row", d)
	})
}

// apiLive streams them as JSON.
func (c *Console) apiLive(w http.ResponseWriter, r *http.Request) {
	c.follow(w, r, func(b *bytes.Buffer, d Decision) error {
		enc := json.NewEncoder(b)
		enc.SetEscapeHTML(false)
		return enc.Encode(d)
	})
}

// follow streams what is decided until the viewer leaves or takes nothing more, or
// the gate stops.
func (c *Console) follow(w http.ResponseWriter, r *http.Request, form func(*bytes.Buffer, Decision) error) {
	after := cmp.Or(r.Header.Get("Last-Event-ID"), r.URL.Query().Get("after"))
	f, err := c.house.Follow(filterOf(r), after)
	if err != nil {
		trouble(w, http.StatusServiceUnavailable, err)
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	http.NewResponseController(w).SetReadDeadline(time.Time{}) // that of a request would end the view
	ctx, cancel := context.WithTimeout(r.Context(), longestLook)
	defer cancel()
	s := stream{w: w, form: form, stall: cmp.Or(c.stall, stall)}
	if s.send([]byte("retry: 3000\n\n")) != nil {
		return
	}
	defer s.until() // for the last chunk
	for s.tell(ctx, f) == nil {
		select {
		case <-ctx.Done():
		case <-time.After(breath):
		}
	}
}

// stream is one viewer's.
type stream struct {
	w     http.ResponseWriter
	form  func(*bytes.Buffer, Decision) error
	stall time.Duration
}

// tell waits for decisions and sends them, or a word that there are none. The error
// ends the stream.
func (s *stream) tell(ctx context.Context, f Follower) error {
	wait, cancel := context.WithTimeout(ctx, beat)
	defer cancel()
	list, missed, err := f.Next(wait)
	switch {
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
		return s.send([]byte(": nothing was decided\n\n"))
	case err != nil:
		return err
	}
	if over := len(list) - mostAtOnce; over > 0 {
		missed, list = missed+over, list[over:]
	}
	var b bytes.Buffer
	if missed > 0 {
		fmt.Fprintf(&b, "event: missed\ndata: %d\n\n", missed)
	}
	for _, d := range list {
		if err := s.event(&b, d); err != nil {
			return err
		}
	}
	return s.send(b.Bytes())
}

// lineEnds are what ends a line of a stream besides a line feed (HTML, section 9.2.5):
// a carriage return in a name would begin a field of its own, or an event.
var lineEnds = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// event writes a decision; each of its lines is a line of data.
func (s *stream) event(b *bytes.Buffer, d Decision) error {
	var text bytes.Buffer
	if err := s.form(&text, d); err != nil {
		return err
	}
	fmt.Fprintf(b, "event: decision\nid: %s\n", d.ID)
	for line := range strings.Lines(lineEnds.Replace(strings.TrimSpace(text.String()))) {
		fmt.Fprintf(b, "data: %s\n", strings.TrimSuffix(line, "\n"))
	}
	b.WriteString("\n")
	return nil
}

func (s *stream) send(text []byte) error {
	s.until()
	if _, err := s.w.Write(text); err != nil {
		return err
	}
	return http.NewResponseController(s.w).Flush()
}

// until says by when what is written next must have gone out.
func (s *stream) until() {
	http.NewResponseController(s.w).SetWriteDeadline(time.Now().Add(s.stall))
}
