package policy

import "sync/atomic"

// Live holds the policy in force. Its zero value holds none, and refuses
// everything.
type Live struct{ current atomic.Pointer[Policy] }

// Policy returns the policy in force, nil (which refuses everything) where
// there is none. Take it once per decision: a passage is judged by one policy.
func (l *Live) Policy() *Policy { return l.current.Load() }

// Swap puts next in force and returns what was in force before.
func (l *Live) Swap(next *Policy) (previous *Policy) { return l.current.Swap(next) }
