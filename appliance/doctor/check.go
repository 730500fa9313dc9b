// Package doctor is the support tool: it tries for real what the packs in use
// ask for, each name, address, connection, certificate and request, and says of
// each failure what it is and what to do. A check whose parent failed is not
// tried, and says because of what.
//
// It decides nothing: the policy does, and no connection is opened without a
// Permit. It sends a vendor's host nothing but a GET and, where asked, a POST
// without content.
package doctor

import (
	"net/netip"
	"time"
)

// State is how a check ended, the worst last.
type State string

// The states.
const (
	OK       State = "ok"
	NotTried State = "not tried"
	Warning  State = "warning"
	Failed   State = "failed"
)

var severity = map[State]int{OK: 0, NotTried: 1, Warning: 2, Failed: 3}

// Check is one thing that was tried, or a heading over several.
type Check struct {
	Name  string `json:"name"`
	State State  `json:"state"` // the worst of its own and its parts'
	// Says is what was found, in a sentence; Fix what to do about it.
	Says  string   `json:"says"`
	Fix   string   `json:"fix"`
	MS    float64  `json:"ms"` // how long it took; 0 where nothing was waited for
	Parts []*Check `json:"parts"`
	// Led is where a name leads whose addresses were all refused.
	Led []netip.Addr `json:"led,omitempty"`
	// Way says that the parts are the steps to one place, each of which needs
	// those before it.
	Way bool `json:"way,omitempty"`
	// Own says that it concerns the school alone, and no vendor of a pack.
	Own bool `json:"-"`
}

// Heading is a Check that is as good as its parts.
func Heading(name string, parts ...*Check) *Check {
	c := &Check{Name: name, State: OK, Parts: parts}
	for _, p := range parts {
		if severity[p.State] > severity[c.State] {
			c.State = p.State
		}
	}
	return c
}

// Fine, Suspect and Bad are Checks without parts.
func Fine(name, says string) *Check { return &Check{Name: name, State: OK, Says: says} }

// Suspect is a Check that found what somebody should look at.
func Suspect(name, says, fix string) *Check {
	return &Check{Name: name, State: Warning, Says: says, Fix: fix}
}

// Bad is a Check that failed.
func Bad(name, says, fix string) *Check {
	return &Check{Name: name, State: Failed, Says: says, Fix: fix}
}

// Skipped is a Check that was not tried.
func Skipped(name, because string) *Check {
	return &Check{Name: name, State: NotTried, Says: "not tried, because " + because}
}

// took notes how long a check lasted.
func (c *Check) took(d time.Duration) *Check {
	c.MS = float64(d.Round(100*time.Microsecond).Microseconds()) / 1000
	return c
}

// Report is everything that was tried.
type Report struct {
	At     time.Time `json:"at"`
	State  State     `json:"state"`
	Checks []*Check  `json:"checks"`
	// Ready says of each pack in use that was tried whether all it asks for
	// works.
	Ready map[string]bool `json:"ready"`
}

// NewReport puts checks together.
func NewReport(at time.Time, ready map[string]bool, checks ...*Check) Report {
	if ready == nil {
		ready = map[string]bool{}
	}
	return Report{At: at, State: Heading("", checks...).State, Checks: checks, Ready: ready}
}

// OwnHeading is a Heading over what concerns the school alone.
func OwnHeading(name string, parts ...*Check) *Check {
	c := Heading(name, parts...)
	c.Own = true
	return c
}

// Packs is the report without what concerns the school alone, like its own rules.
func (r Report) Packs() Report {
	var checks []*Check
	for _, c := range r.Checks {
		if !c.Own {
			checks = append(checks, c)
		}
	}
	return NewReport(r.At, r.Ready, checks...)
}

// Failed reports whether anything that was tried failed.
func (r Report) Failed() bool { return r.State == Failed }
