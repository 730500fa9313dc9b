//go:build linux

package appliance

import (
	"context"
	"errors"
	"time"

	"gatehouse/appliance/console"
	"gatehouse/internal/flow"
)

// searchedLines is how far back, at the least, the console looks in a decision log on
// the disk.
const searchedLines = 100_000

// newCatalogue is of the decision log, where it is a file in JSON; else nil.
func (a *Appliance) newCatalogue() *flow.Catalogue {
	if a.Config.Log.Decisions == "stdout" || a.Config.Log.Format != "json" {
		return nil
	}
	return flow.NewCatalogue(a.Config.Log.Decisions, searchedLines)
}

// catalogueEvery is how often what was written meanwhile is catalogued: a search has
// the rest to do.
const catalogueEvery = 10 * time.Second

// keepCatalogue keeps the catalogue up to date, so that whoever opens the console in the
// morning does not wait for the night's decisions.
func (a *Appliance) keepCatalogue(ctx context.Context, tick <-chan time.Time) {
	if a.catalogue == nil {
		return
	}
	for {
		a.guarded("catalogue of the decision log", func() { a.catalogue.Update(ctx) }) // a search tells of what is wrong
		select {
		case <-ctx.Done():
			return
		case <-tick:
		}
	}
}

// Decisions implements console.House: those in memory, and behind them those of
// the decision log, where it is a file in JSON.
func (w window) Decisions(ctx context.Context, f console.Filter, n int) []console.Decision {
	page, _ := w.Page(ctx, f, n, "")
	return page.Decisions
}

// Page implements console.House.
func (w window) Page(ctx context.Context, f console.Filter, n int, before string) (console.Page, error) {
	from, wanted, kept := flow.ParseCursor(before), flow.Filter(f), w.ring.Recent(keptDecisions)
	var found []*flow.Record
	newer, inMemory := from.In(kept)
	if inMemory {
		from = flow.Cursor{} // all that is on the disk alone is older
		for _, r := range kept[newer:] {
			if wanted.Fits(r) {
				if found = append(found, r); len(found) > n {
					break
				}
			}
		}
	}
	if len(found) <= n { // one more than is shown tells whether there is more
		rest, err := w.onDisk(ctx, wanted, n+1-len(found), from, kept)
		if err != nil {
			return console.Page{Decisions: []console.Decision{}}, err
		}
		found = append(found, rest...)
	}
	page, permits := console.Page{Decisions: []console.Decision{}}, w.permits()
	if len(found) > n {
		found = found[:n]
		page.Next = flow.CursorAt(found[n-1]).String()
	}
	for _, r := range found {
		page.Decisions = append(page.Decisions, w.decisionOf(r, permits))
	}
	return page, nil
}

// onDisk looks for decisions that are not in memory. The error says that there is no
// such place; what else is wrong is logged, and what was found is given.
func (w window) onDisk(ctx context.Context, f flow.Filter, n int, from flow.Cursor, kept []*flow.Record) (found []*flow.Record, err error) {
	if w.catalogue == nil {
		if from.ID != "" {
			err = console.ErrNoPlace
		}
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, searchTime)
	defer cancel()
	if from.ID == "" {
		found, err = w.catalogue.Newest(ctx, f, n, kept)
	} else {
		found, err = w.catalogue.Older(ctx, f, n, from, kept)
	}
	if err != nil && !errors.Is(err, flow.ErrNoPlace) {
		w.Log.Warn("the decision log could not be searched", "err", err)
	}
	if errors.Is(err, flow.ErrNoPlace) {
		return nil, console.ErrNoPlace
	}
	return found, nil
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
	if a.catalogue == nil {
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
