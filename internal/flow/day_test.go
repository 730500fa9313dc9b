package flow

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/policy"
)

func TestADayCountsWhatWasDecidedWithinIt(t *testing.T) {
	now := time.Date(2026, 3, 4, 12, 7, 0, 0, time.UTC)
	var d Day
	at := func(when time.Time, v policy.Verdict) *Record { return &Record{Time: when, Verdict: v} }
	allowed, denied, would := policy.Verdict{Effect: policy.Allow}, policy.Verdict{}, policy.Verdict{Effect: policy.Allow, Would: true}
	d.Record(at(now, allowed))
	d.Record(at(now, denied))
	d.Record(at(now.Add(-time.Hour), would))
	d.Repeated(at(now, denied), 5, 0)
	d.Record(&Record{Time: now, Verdict: denied, Repeats: 5})
	d.Record(&Record{Time: now, Verdict: allowed, Open: true})
	long := at(now.Add(-2*time.Hour), allowed)
	long.Duration = 2 * time.Hour
	d.Record(long)
	slots := d.Slots(now)
	require.Len(t, slots, 96)
	require.Equal(t, Slot{Start: time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC), Allowed: 2, Denied: 6}, slots[95])
	require.Equal(t, 1, slots[91].WouldDeny)
	require.Equal(t, time.Date(2026, 3, 3, 12, 15, 0, 0, time.UTC), slots[0].Start)

	d.Record(at(now.Add(-25*time.Hour), allowed))
	require.Equal(t, slots, d.Slots(now), "older than what is in its place")
	d.Record(at(now.Add(24*time.Hour), allowed))
	next := d.Slots(now.Add(24 * time.Hour))
	require.Equal(t, 1, next[95].Allowed)
	require.Zero(t, next[95].Denied)
	require.Zero(t, next[91].WouldDeny)
}

func TestADayIsCountedWhateverTheClockSays(t *testing.T) {
	for _, year := range []int{2, 1960, 1970, 2040} {
		now := time.Date(year, 1, 1, 0, 7, 0, 0, time.UTC)
		var d Day
		require.Zero(t, d.Slots(now)[95].Denied)
		d.Record(&Record{Time: now})
		d.Record(&Record{Time: now.Add(-DaySlot)})
		slots := d.Slots(now)
		require.Equal(t, Slot{Start: now.Truncate(DaySlot), Denied: 1}, slots[95])
		require.Equal(t, 1, slots[94].Denied)
	}
}

func TestADayThatWasCountedByAClockAheadIsCountedAnew(t *testing.T) {
	now := time.Date(2026, 3, 4, 12, 7, 0, 0, time.UTC)
	var d Day
	for i := range daySlots { // whatever the slot
		d.Record(&Record{Time: now.AddDate(14, 0, 0).Add(DaySlot * time.Duration(i))})
	}
	d.Record(&Record{Time: now})
	require.Equal(t, 1, d.Slots(now)[95].Denied)
}
