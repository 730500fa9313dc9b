package proxy

import (
	"sync"
	"time"

	"gatehouse/internal/flow"
	"gatehouse/policy"
)

// fault writes into the book why TLS could not be looked into, if that is the
// matter, and tells the log, which an administrator reads sooner.
func (e *exchange) fault(f flow.Fault, why, fix string) {
	if f == "" {
		return
	}
	detail := why
	if fix != "" {
		detail += " To mend it: " + fix + "."
	}
	e.passage.note(func(r *flow.Record) { r.Fault, r.Detail = f, detail })
	if e.server.complaints.due(complaint{e.dest.Host, f}, e.server.deps.Now()) {
		e.server.deps.Log.Warn("TLS could not be looked into; the next hour's repeats are in the decision log alone",
			"host", e.dest.Host.String(), "client", e.client.addr, "fault", string(f), "why", detail, "id", e.passage.id())
	}
}

// complaints keep the log from saying the same thing again and again. The zero
// value is ready.
type complaints struct {
	mu   sync.Mutex
	said map[complaint]time.Time
}

type complaint struct {
	host  policy.Host
	fault flow.Fault
}

// A complaint is worth repeating after an hour. There are as many as hosts in the
// rules times faults: where there are more than anybody reads, all are forgotten.
const (
	complainAgain  = time.Hour
	mostComplaints = 1000
)

// due reports whether a complaint is worth a line now, and takes it as said.
func (c *complaints) due(what complaint, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if last, ok := c.said[what]; ok && now.Sub(last) < complainAgain {
		return false
	}
	if c.said == nil || len(c.said) >= mostComplaints {
		c.said = map[complaint]time.Time{}
	}
	c.said[what] = now
	return true
}
