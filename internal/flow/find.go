package flow

import (
	"context"
	"math"
)

// Find looks for a decision in a decision log in JSON, the newest piece of it
// first. Nil without an error says that it is in none. Of a passage that was told
// of while it was open and again at its end, the end is given.
func Find(ctx context.Context, path, id string) (*Record, error) {
	mark := Mark("id", id)
	if mark == nil {
		return nil, nil // none that the gate gave
	}
	s := Search{Marks: [][]byte{mark}, Most: 1, Lines: math.MaxInt, Fits: func(r *Record) bool { return r.ID == id }}
	found, err := s.Newest(ctx, path)
	if len(found) == 0 {
		return nil, err
	}
	return found[0], nil
}
