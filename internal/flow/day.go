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
	start := at.UTC().Truncate(DaySlot)
	d.mu.Lock()
	defer d.mu.Unlock()
	s := &d.slots[int(start.Unix()/int64(DaySlot/time.Second))%daySlots]
	switch {
	case start.Before(s.Start):
		return // more than a day ago
	case start.After(s.Start):
		*s = Slot{Start: start}
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

// Slots are the last 24 hours before and with a moment, the oldest first, those
// without decisions too.
func (d *Day) Slots(now time.Time) []Slot {
	d.mu.Lock()
	defer d.mu.Unlock()
	start := now.UTC().Truncate(DaySlot).Add(-DaySlot * time.Duration(daySlots-1))
	list := make([]Slot, daySlots)
	for i := range list {
		list[i] = Slot{Start: start}
		if s := d.slots[int(start.Unix()/int64(DaySlot/time.Second))%daySlots]; s.Start.Equal(start) {
			list[i] = s
		}
		start = start.Add(DaySlot)
	}
	return list
}
