package flow

import (
	"sync"
	"time"
)

const (
	// DaySlot is the length of time that one Slot of a Day counts.
	DaySlot  = 15 * time.Minute
	daySlots = int(24 * time.Hour / DaySlot)
)

// Slot counts what was decided within DaySlot from Start.
type Slot struct {
	Start                      time.Time
	Allowed, Denied, WouldDeny int
}

// Day counts the decisions of the last 24 hours, for a chart. It is a Sink and a
// Repeater; the zero Day is empty and ready.
type Day struct {
	mu    sync.Mutex
	slots [daySlots]Slot
	ends  [daySlots]int64 // of each slot, in Unix time
}

// Record implements Sink: a passage counts when it ends, and repeats count by
// themselves.
func (d *Day) Record(r *Record) {
	if r.Open || r.Repeats > 0 {
		return
	}
	d.Add(r, r.Time.Add(r.Duration), 1)
}

// Repeated implements Repeater.
func (d *Day) Repeated(r *Record, n int, took time.Duration) { d.Add(r, r.Time.Add(took), n) }

// Add counts n passages like r, decided at a moment.
func (d *Day) Add(r *Record, at time.Time, n int) {
	end, i := placeOf(at)
	d.mu.Lock()
	defer d.mu.Unlock()
	s := &d.slots[i]
	const turn = int64(24 * time.Hour / time.Second)
	switch {
	case s.Start.IsZero(), end > d.ends[i], end < d.ends[i]-turn: // the last was counted by a clock that was ahead
		*s, d.ends[i] = Slot{Start: time.Unix(end, 0).UTC().Add(-DaySlot)}, end
	case end < d.ends[i]:
		return // more than a day ago
	}
	switch {
	case r.Verdict.Would:
		s.WouldDeny += n
	case r.Verdict.Allowed():
		s.Allowed += n
	default:
		s.Denied += n
	}
}

// placeOf is the end, in Unix time, of the slot in which a moment is, and the place
// of that slot in a Day. It is asked of every passage, and in whole seconds costs a
// fraction of Time.Truncate.
func placeOf(at time.Time) (end int64, place int) {
	const length = int64(DaySlot / time.Second)
	second := at.Unix()
	into := (second%length + length) % length // also before 1970
	end = second - into + length
	return end, int((end/length%int64(daySlots) + int64(daySlots)) % int64(daySlots))
}

// Slots are the last 24 hours before and with a moment, the oldest first, those
// without decisions too.
func (d *Day) Slots(now time.Time) []Slot {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := make([]Slot, daySlots)
	for i := range list {
		end, place := placeOf(now.Add(DaySlot * time.Duration(i+1-daySlots)))
		list[i] = Slot{Start: time.Unix(end, 0).UTC().Add(-DaySlot)}
		if !d.slots[place].Start.IsZero() && d.ends[place] == end {
			list[i] = d.slots[place]
		}
	}
	return list
}
