//go:build linux

package appliance

import (
	"context"
	"errors"
	"slices"

	"gatehouse/appliance/console"
	"gatehouse/internal/flow"
)

// mostCaughtUp is how many decisions somebody gets who begins to look on.
const mostCaughtUp = 200

// follower looks on for the console.
type follower struct {
	window
	filter flow.Filter
	view   *flow.View
	behind []*flow.Record // what he has still to catch up with, the oldest first
	seen   map[*flow.Record]bool
	logins string // who might log in when it began
}

// errLogins ends a view: whoever looks on may be one of those who may no longer. Who
// still may begins another.
var errLogins = errors.New("who may log in has changed")

// Follow implements console.House.
func (w window) Follow(f console.Filter, after string) (console.Follower, error) {
	view, err := w.tail.View() // before looking at what is kept: nothing falls in between
	if err != nil {
		return nil, err
	}
	o := &follower{window: w, filter: flow.Filter(f), view: view, seen: map[*flow.Record]bool{}, logins: w.logins()}
	for _, r := range w.ring.Recent(keptDecisions) {
		if after != "" && r.ID == after || len(o.behind) == mostCaughtUp {
			break
		}
		if o.filter.Fits(r) {
			o.behind, o.seen[r] = append(o.behind, r), true
		}
	}
	slices.Reverse(o.behind)
	return o, nil
}

func (w window) logins() string { return webConfig(w.Config.Listen.WebConfig).state() }

// Next implements console.Follower. Nothing is given that came after a login was taken
// away.
func (o *follower) Next(ctx context.Context) ([]console.Decision, int, error) {
	list, missed, err := o.next(ctx)
	if o.logins != o.window.logins() {
		return nil, 0, errLogins
	}
	return list, missed, err
}

func (o *follower) next(ctx context.Context) ([]console.Decision, int, error) {
	if len(o.behind) > 0 {
		list := o.told(o.behind)
		o.behind = nil
		return list, 0, nil
	}
	for {
		records, missed, err := o.view.Next(ctx)
		if err != nil {
			return nil, 0, err
		}
		records = slices.DeleteFunc(records, func(r *flow.Record) bool { return o.seen[r] || !o.filter.Fits(r) })
		if len(records)+missed > 0 {
			return o.told(records), missed, nil
		}
	}
}

func (o *follower) told(records []*flow.Record) []console.Decision {
	p := o.permits()
	list := make([]console.Decision, len(records))
	for i, r := range records {
		list[i] = o.decisionOf(r, p)
	}
	return list
}

// Close implements console.Follower.
func (o *follower) Close() { o.view.Close() }
