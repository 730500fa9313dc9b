package policy

import (
	"sync/atomic"
	"time"
)

// Live holds the policy in force. Its zero value holds none, and refuses
// everything.
type Live struct{ current atomic.Pointer[Policy] }

// Policy returns the policy in force, nil (which refuses everything) where
// there is none. Take it once per decision: a passage is judged by one policy.
func (l *Live) Policy() *Policy { return l.current.Load() }

// Swap puts next in force and returns what was in force before.
func (l *Live) Swap(next *Policy) (previous *Policy) { return l.current.Swap(next) }

// NextChange is the first moment after at from which the policy may judge
// otherwise for no other reason than that time has passed: the day of a rule
// ends, or monitor mode does. Zero: there is none. It walks all rules.
func (p *Policy) NextChange(at time.Time) time.Time {
	var next time.Time
	consider := func(moment time.Time) {
		if moment.After(at) && (next.IsZero() || moment.Before(next)) {
			next = moment
		}
	}
	if p == nil {
		return next
	}
	consider(p.monitorUntil)
	for i := range p.rules {
		consider(p.rules[i].Until)
	}
	return next
}
