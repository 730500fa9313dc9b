package policy

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestNextChangeIsTheNearestDayThatEnds(t *testing.T) {
	day := func(n int) time.Time { return time.Date(2026, 11, n, 0, 0, 0, 0, time.UTC) }
	p := &Policy{monitorUntil: day(20), rules: []rule{
		{Rule: &Rule{}}, {Rule: &Rule{Until: day(25)}}, {Rule: &Rule{Until: day(15), Deny: true}},
	}}
	for at, want := range map[int]time.Time{10: day(15), 15: day(20), 20: day(25), 25: {}} {
		require.Equal(t, want, p.NextChange(day(at)), at)
	}
	require.Zero(t, (*Policy)(nil).NextChange(day(1)))
}
