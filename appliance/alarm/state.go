package alarm

import (
	"cmp"
	"slices"
	"time"
)

// State is what a Bell has told and what it still owes. Its JSON is kept across
// restarts, so that one neither repeats what was told nor forgets that it is to be
// told when it is over.
type State struct {
	Told []Told `json:"told"`
	Owed []Debt `json:"owed"`
}

// Told is a condition that was told and is not over.
type Told struct {
	Condition
	Since time.Time `json:"since"`
	Told  time.Time `json:"told"` // the last time
}

// Debt is what one sender has not yet brought, and when it may go out.
type Debt struct {
	Sender   string    `json:"sender"`
	Events   []Event   `json:"events"`
	Next     time.Time `json:"next"`
	Failures int       `json:"failures"`
}

// State is as the Bell is now; the same Bell gives the same State.
func (b *Bell) State() State {
	s := State{Told: []Told{}, Owed: []Debt{}}
	for _, a := range b.active {
		s.Told = append(s.Told, Told{a.Condition, a.since, a.told})
	}
	slices.SortFunc(s.Told, func(x, y Told) int {
		return cmp.Or(cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.Subject, y.Subject))
	})
	for _, o := range b.owed {
		s.Owed = append(s.Owed, Debt{o.Name(), o.events, o.next, o.failures})
	}
	return s
}

// mostTold bounds what is taken from a State.
const mostTold = 1000

// Restore takes up what an earlier Bell has left. What was wrong then counts as
// wrong until it has been well for a while from now; what lies in the future (the
// clock was wrong) as of now. A debt whose sender is there no more is forgotten.
func (b *Bell) Restore(s State, now time.Time) {
	for _, t := range s.Told[:min(len(s.Told), mostTold)] {
		b.active[key{t.Kind, t.Subject}] = &known{Condition: t.Condition, since: earlier(t.Since, now), seen: now, told: earlier(t.Told, now)}
	}
	for _, d := range s.Owed {
		for _, o := range b.owed {
			if o.Name() == d.Sender {
				o.events = d.Events[max(0, len(d.Events)-mostPending):]
				o.next, o.failures = earlier(d.Next, now.Add(longest)), max(0, d.Failures)
			}
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if a.After(b) {
		return b
	}
	return a
}
