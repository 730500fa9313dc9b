//go:build linux

package appliance

import (
	"context"
	"strings"
	"time"

	"gatehouse/appliance/console"
	"gatehouse/internal/flow"
)

// searchedLines is how far back the console looks in a decision log on the disk.
const searchedLines = 100_000

// Decisions implements console.House: those in memory, and behind them those of
// the decision log, where it is a file in JSON.
func (w window) Decisions(ctx context.Context, f console.Filter, n int) []console.Decision {
	list, permits := []console.Decision{}, w.permits()
	kept := w.ring.Recent(keptDecisions)
	for _, r := range kept {
		if len(list) == n {
			return list
		}
		if fits(&f, r) {
			list = append(list, w.decisionOf(r, permits))
		}
	}
	for _, r := range w.onDisk(ctx, &f, n-len(list), kept) {
		list = append(list, w.decisionOf(r, permits))
	}
	return list
}

// onDisk looks for decisions that are not in memory.
func (w window) onDisk(ctx context.Context, f *console.Filter, n int, kept []*flow.Record) []*flow.Record {
	if w.Config.Log.Decisions == "stdout" || w.Config.Log.Format != "json" {
		return nil
	}
	known := make(map[string]bool, len(kept))
	for _, r := range kept {
		known[r.ID] = true
	}
	ctx, cancel := context.WithTimeout(ctx, searchTime)
	defer cancel()
	s := flow.Search{Marks: marks(f), Most: n, Lines: searchedLines, Fits: func(r *flow.Record) bool { return !known[r.ID] && fits(f, r) }}
	found, err := s.Newest(ctx, w.Config.Log.Decisions)
	if err != nil {
		w.Log.Warn("the decision log could not be searched", "err", err)
	}
	return found
}

// marks are what a line must hold that fits, the rarest first.
func marks(f *console.Filter) (all [][]byte) {
	for _, m := range []struct{ field, value string }{{"rule", f.Rule}, {"reason", f.Reason}, {"verdict", f.Verdict}, {"surface", f.Surface}} {
		if mark := flow.Mark(m.field, m.value); m.value != "" && mark != nil {
			all = append(all, mark)
		}
	}
	for _, part := range []string{f.Client, f.Host} { // they fit parts, so they stand somewhere in a value
		if part = strings.ToLower(part); part != "" && flow.Mark("", part) != nil {
			all = append([][]byte{[]byte(part)}, all...)
		}
	}
	return all
}

func fits(f *console.Filter, r *flow.Record) bool {
	same := func(want, is string) bool { return want == "" || want == is }
	within := func(want, in string) bool { return want == "" || strings.Contains(in, strings.ToLower(want)) }
	return same(f.Verdict, r.Verdict.String()) && same(f.Reason, r.Verdict.Reason.String()) && same(f.Rule, r.Verdict.RuleName()) &&
		same(f.Surface, r.Surface.String()) && within(f.Host, r.Host) && (f.Client == "" || within(f.Client, r.Client.String()))
}

// Day implements console.House.
func (w window) Day() []console.Slot {
	slots := w.day.Slots(w.Now())
	list := make([]console.Slot, len(slots))
	for i, s := range slots {
		list[i] = console.Slot{Start: w.here(s.Start), Allowed: s.Allowed, Denied: s.Denied, WouldDeny: s.WouldDeny}
	}
	return list
}

// recallDay counts what the decision log tells of the day before this start.
func (a *Appliance) recallDay(ctx context.Context, started time.Time) {
	if a.Config.Log.Decisions == "stdout" || a.Config.Log.Format != "json" {
		return
	}
	since := started.Add(-24 * time.Hour)
	s := flow.Search{Most: 1, Lines: searchedLines, Fits: func(r *flow.Record) bool {
		if at := r.Time.Add(r.Duration); !r.Open && at.Before(started) && at.After(since) {
			a.day.Add(r, at, 1)
		}
		return r.Time.Before(since) // what is older ends the search
	}}
	if _, err := s.Newest(ctx, a.Config.Log.Decisions); err != nil && ctx.Err() == nil {
		a.Log.Warn("the chart of the last day begins with this start: the decision log cannot be read", "err", err)
	}
}
