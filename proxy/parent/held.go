package parent

import (
	"fmt"
	"time"
)

// flowAgain is for how long it is remembered that a parent let a stream through: who
// changes what it does to streams, changes it seldom.
const flowAgain = time.Hour

// Flows notes that it has just let a part of a message through before the whole had
// come, in an exchange that could not have gone on without.
func (p *Proxy) Flows() { p.flows.Store(p.deps.Now().UnixNano()) }

// Held makes a Fault of a parent that let nothing through of an unfinished message,
// until after a while the client gave up. It is nil where the parent was lately seen
// to let such a thing through: then it was somebody else who kept silent.
func (p *Proxy) Held(after time.Duration) *Fault {
	if seen := p.flows.Load(); seen != 0 && p.deps.Now().Sub(time.Unix(0, seen)) < flowAgain {
		return nil
	}
	return p.Fault(Buffering, 0, fmt.Errorf("nothing came through for %s", after.Round(time.Second)))
}
