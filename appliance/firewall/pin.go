package firewall

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gatehouse/policy"
)

// ErrFull says that no more pins fit into the sets.
var ErrFull = errors.New("the firewall holds as many pins as it may")

// Pin opens what the rules let through to the addresses of an answer, each a
// permit narrowed to it, until Grace after the answer is over. It returns when the
// kernel has it, so that the answer may go. What stands long enough already is not
// written again.
func (f *Firewall) Pin(ctx context.Context, permits []policy.Permit, until time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.loaded || !f.policy.Forwards() {
		return nil
	}
	now := f.deps.Now()
	touched := map[Slot]bool{}
	for _, permit := range permits {
		holes := f.policy.Pinholes(permit, now)
		if len(holes) == 0 {
			continue
		}
		if err := f.note(permit, holes, until.Add(Grace), now); err != nil {
			return err
		}
		for _, p := range f.pinsOf(holes, 0) {
			touched[p.Slot] = touched[p.Slot] || !f.stands(p, until.Add(Grace/2))
		}
	}
	return f.write(ctx, touched, now)
}

// note remembers what an answer opens.
func (f *Firewall) note(permit policy.Permit, holes []policy.Pinhole, until, now time.Time) error {
	key := answer{permit.Dest().Host, permit.Addr()}
	old := f.answers[key]
	switch {
	case old != nil && old.until.After(until):
		until = old.until
	case old == nil && len(f.answers) >= mostAnswers:
		f.forget(now)
		if len(f.answers) >= mostAnswers {
			return f.sayFull()
		}
	}
	f.answers[key] = &opened{permit, until, holes}
	return nil
}

// forget drops answers whose time is over.
func (f *Firewall) forget(now time.Time) {
	for key, o := range f.answers {
		if !now.Before(o.until) {
			delete(f.answers, key)
		}
	}
}

func (f *Firewall) sayFull() error {
	if !f.full {
		f.deps.Log.Error("the firewall holds as many pins as it may: further addresses stay closed until some have run out; name fewer hosts in rules with via = \"forward\"", "answers", len(f.answers))
		f.full = true
	}
	return ErrFull
}

// stands reports whether all of a pin stands until a moment.
func (f *Firewall) stands(p Pin, until time.Time) bool {
	next := int(p.Ports.First)
	for _, d := range f.kernel[p.Slot] { // in order, without overlap
		if int(d.ports.First) <= next && next <= int(d.ports.Last) && (d.until.IsZero() || d.until.After(until)) {
			next = int(d.ports.Last) + 1
		}
	}
	return next > int(p.Ports.Last)
}

// write makes the touched slots in the kernel what they should be, in one
// transaction.
func (f *Firewall) write(ctx context.Context, touched map[Slot]bool, now time.Time) error {
	var text strings.Builder
	fresh := map[Slot][]deadline{}
	wanted := f.wanted(now)
	for slot, changed := range touched {
		if !changed {
			continue
		}
		var here []Pin
		for _, p := range wanted {
			if p.Slot == slot {
				here = append(here, p)
			}
		}
		here = Disjoint(here)
		exchange(&text, slot, f.kernel[slot], here)
		for _, p := range here {
			fresh[slot] = append(fresh[slot], standing(p, now))
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	if f.count(fresh) > mostPins {
		return f.sayFull()
	}
	if err := f.load(ctx, text.String()); err != nil {
		return fmt.Errorf("open the firewall for an answer: %w", err)
	}
	for slot, list := range fresh {
		f.kernel[slot] = list
	}
	return nil
}

// count is how many elements there would be; those whose time is over go.
func (f *Firewall) count(fresh map[Slot][]deadline) (n int) {
	now := f.deps.Now()
	for slot, list := range f.kernel {
		if _, replaced := fresh[slot]; replaced {
			continue
		}
		list = slices.DeleteFunc(list, func(d deadline) bool { return !d.lives(now) })
		if f.kernel[slot] = list; len(list) == 0 {
			delete(f.kernel, slot)
		}
		n += len(list)
	}
	for _, list := range fresh {
		n += len(list)
	}
	return n
}

// exchange writes the commands that put new pieces in the place of old ones. An
// old one may have run out a moment ago, and deleting what is not there would fail
// the transaction: so it is added first.
func exchange(w *strings.Builder, s Slot, old []deadline, pins []Pin) {
	f := families[0]
	if !s.Addr.Is4() {
		f = families[1]
	}
	set := pinSet(s.Group, f)
	for _, d := range old {
		gone := element(Pin{Slot: s, Ports: d.ports})
		fmt.Fprintf(w, "add element %s %s { %s timeout 1s }\n", Table, set, gone)
		fmt.Fprintf(w, "delete element %s %s { %s }\n", Table, set, gone)
	}
	for _, p := range pins {
		fmt.Fprintf(w, "add element %s %s { %s%s }\n", Table, set, element(p), timeout(p.For))
	}
}
