package flow

import "time"

const (
	// steadyFor is how long a clock must have gone without a jump for the age of what
	// is kept to be judged by it.
	steadyFor = 24 * time.Hour
	// jump is what a clock differs from one that nobody sets, from one look to the
	// next, for it to have been set: clocks that are slewed differ by less (NTP by half
	// a thousandth, which is two seconds an hour).
	jump = time.Minute
)

// steadiness watches for jumps of the clock: a machine whose clock has lost the time
// says 1970, or 2040, until somebody tells it better, and by that nothing must be
// found too old. The zero steadiness has seen nothing.
type steadiness struct {
	looked  bool
	wall    time.Time     // at the last look
	elapsed time.Duration // at the last look, by a clock that nobody sets
	since   time.Duration // when the wall clock was found set last, or looked at first
}

// look compares the clocks, and reports whether that of the wall has been steady.
func (s *steadiness) look(wall time.Time, elapsed time.Duration) bool {
	wall = wall.Round(0) // without the reading of the other clock
	off := wall.Sub(s.wall) - (elapsed - s.elapsed)
	if !s.looked || off.Abs() > jump {
		s.since = elapsed
	}
	s.looked, s.wall, s.elapsed = true, wall, elapsed
	return elapsed-s.since >= steadyFor
}

// present is the moment by which pieces are judged too old. The clock is believed
// where it is known to be right, or has been steady for a day. Until then it is no
// later than the newest piece that was finished a day ago, or earlier, both by its
// name and by the file system: that day at least has come, and what one wrong hour
// wrote is not asked. Not ok: there is none, and nothing is too old.
func (f *File) present(pieces []piece) (at time.Time, ok bool) {
	now := f.Now()
	steady := f.steady.look(now, f.Elapsed())
	if steady || f.Synchronised() {
		return now, true
	}
	for _, p := range pieces {
		finished := p.at
		if p.written.Before(finished) {
			finished = p.written
		}
		if now.Sub(finished) >= steadyFor && finished.After(at) {
			at, ok = finished, true
		}
	}
	return at, ok
}

// dated corrects the moments of pieces, oldest first, that were named while the
// clock was ahead: by when they were written, and none is younger than the next.
func dated(pieces []piece, now time.Time) {
	next := now
	for i := len(pieces) - 1; i >= 0; i-- {
		p := &pieces[i]
		if p.at.After(now.Add(steadyFor)) {
			p.at = p.written
		}
		if p.at.After(next) {
			p.at = next
		}
		next = p.at
	}
}
