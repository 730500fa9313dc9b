package flow

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
)

// Cursor is a place in a list of decisions: everything older than one of them. It holds
// however many are made meanwhile. The zero Cursor is the place before the newest.
//
// A passage that was told of while it was open is told of again at its end, under the
// same id: Open says that the first of the two is meant.
type Cursor struct {
	ID   string
	Open bool
}

const openMark = "-open"

// CursorAt is the place behind a Record.
func CursorAt(r *Record) Cursor { return Cursor{ID: r.ID, Open: r.Open} }

// ParseCursor reads what String wrote, or an id alone. Any text is one; whether there
// is such a place turns out when it is looked for.
func ParseCursor(text string) Cursor {
	id, open := strings.CutSuffix(strings.TrimSpace(text), openMark)
	return Cursor{ID: strings.ToUpper(id), Open: open}
}

// String is the id, and a mark where the line of an open passage is meant.
func (c Cursor) String() string {
	if c.Open {
		return c.ID + openMark
	}
	return c.ID
}

// ErrNoPlace says that the decision a Cursor names is not kept, or no longer.
var ErrNoPlace = errors.New("this decision is not among those that are kept")

// In is how many of a list, newest first, are not behind the Cursor; false where it
// names none of them.
func (c Cursor) In(list []*Record) (int, bool) {
	if c.ID == "" {
		return 0, true
	}
	if c.Open { // the end, if it has come, stands before it
		for i, r := range slices.Backward(list) {
			if r.ID == c.ID {
				return i + 1, true
			}
		}
		return 0, false
	}
	i := slices.IndexFunc(list, func(r *Record) bool { return r.ID == c.ID })
	return i + 1, i >= 0
}

// Older is Newest among what was written before the line of a Cursor, or ErrNoPlace.
func (c *Catalogue) Older(ctx context.Context, f Filter, n int, than Cursor, known []*Record) ([]*Record, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.close()
	err := c.update(ctx)
	from, ok := c.placeOf(than)
	if !ok {
		return nil, errors.Join(ErrNoPlace, err)
	}
	return c.pickBelow(ctx, pick{from: &f, fits: unknown(known), most: n}, err, from)
}

// unknown tells decisions that are not known already by the hash of their ids.
func unknown(known []*Record) func(id uint64) bool {
	skip := make(map[uint64]bool, len(known))
	for _, r := range known {
		skip[hashOf(r.ID)] = true
	}
	return func(id uint64) bool { return !skip[id] }
}

// placeOf looks for the line of a Cursor: of several with its id the newest, or where an
// open passage is meant the oldest.
func (c *Catalogue) placeOf(than Cursor) (at place, found bool) {
	id := hashOf(than.ID)
	for i, s := range slices.Backward(c.shelves) {
		for j, d := range slices.Backward(s.drawers) {
			for k := len(d.lines) - 1; k >= 0; k-- {
				if d.lines[k].id != id {
					continue
				}
				if at, found = (place{i, j, k}), true; !than.Open {
					return at, true
				}
			}
		}
	}
	return at, found
}

// place is a line of a Catalogue by its shelf, drawer and number: what is before it is
// meant.
type place struct{ shelf, drawer, line int }

// within is the place as a shelf sees it: all of one that is older is before it.
func (p place) within(shelf int) place {
	if shelf < p.shelf {
		return place{drawer: math.MaxInt}
	}
	return p
}

// lines is how many lines of a drawer are before it, at the most.
func (p place) lines(drawer int) int {
	if drawer < p.drawer {
		return math.MaxInt
	}
	return p.line
}
