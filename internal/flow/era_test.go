package flow

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// keeping is a log that keeps 30 days, on a machine whose clock and whose file
// system's times a test sets.
type keeping struct {
	*testing.T
	*File
	day
	elapsed time.Duration
	right   bool // NTP says so
}

// newKeeping is a log with a piece of each of the last 30 days. The gate has just
// been started.
func newKeeping(t *testing.T) *keeping {
	k := &keeping{T: t, day: day{now: time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)}}
	path := filepath.Join(t.TempDir(), "decisions.log")
	for i := range 30 {
		k.piece(path+"-"+k.now.AddDate(0, 0, -i).Format(stamp), k.now.AddDate(0, 0, -i))
	}
	k.start(path)
	return k
}

func (k *keeping) start(path string) {
	k.File = NewFile(FileConfig{Path: path, Days: 30, Now: k.clock, Elapsed: func() time.Duration { return k.elapsed }, Synchronised: func() bool { return k.right }})
	k.Cleanup(func() { k.Close() })
}

func (k *keeping) piece(path string, written time.Time) {
	require.NoError(k, os.WriteFile(path, []byte("a line\n"), 0o600))
	require.NoError(k, os.Chtimes(path, written, written))
}

// passes lets time pass, by all clocks.
func (k *keeping) passes(d time.Duration) { k.now, k.elapsed = k.now.Add(d), k.elapsed+d }

// writes writes a line, and gives how many pieces there are afterwards.
func (k *keeping) writes() int {
	_, err := k.Write([]byte("a line\n"))
	require.NoError(k, err)
	require.NoError(k, os.Chtimes(k.Path, k.now, k.now))
	return k.left()
}

// left tends, and gives how many pieces there are.
func (k *keeping) left() int {
	require.NoError(k, k.Tend())
	pieces, err := Pieces(k.Path)
	require.NoError(k, err)
	return len(pieces)
}

func TestAClockThatIsAheadForAWhileDeletesNothing(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"2040": 14 * 365 * 24 * time.Hour, "a month": 31 * 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			k := newKeeping(t)
			right := k.now
			k.now = k.now.Add(ahead)
			require.Equal(t, 30, k.left(), "at the start")
			require.Equal(t, 30, k.writes(), "the first line")
			k.passes(12 * time.Hour)
			require.Equal(t, 31, k.writes(), "the first line of another day")
			k.start(k.Path)
			require.Equal(t, 31, k.left(), "and after a restart")

			k.now, k.right = right.Add(time.Hour), true // somebody told it better
			require.Equal(t, 31, k.writes(), "all that was written in the last 30 days")
			k.now = k.now.AddDate(0, 0, 80)
			require.LessOrEqual(t, k.writes(), 1, "and none is kept for ever")
		})
	}
}

func TestAClockThatIsAheadAtEachStartDeletesNothing(t *testing.T) {
	k := newKeeping(t)
	const ahead = 14 * 365 * 24 * time.Hour
	for range 5 { // the machine is started each day, and its own clock goes on
		k.right = false
		k.start(k.Path)
		k.now = k.now.Add(ahead)
		require.GreaterOrEqual(t, k.writes(), 30)
		k.now, k.right = k.now.Add(time.Minute-ahead), true
		require.GreaterOrEqual(t, k.writes(), 30)
		k.passes(24 * time.Hour)
	}
}

func TestAClockThatSays1970DeletesNothing(t *testing.T) {
	k := newKeeping(t)
	right := k.now
	k.now = time.Unix(60, 0).UTC()
	require.Equal(t, 30, k.writes())
	k.now = right
	require.GreaterOrEqual(t, k.writes(), 30)
	k.passes(25 * time.Hour)
	require.GreaterOrEqual(t, k.writes(), 30)
}

func TestAClockThatNobodyVouchesForIsBelievedWhenItHasBeenSteadyForADay(t *testing.T) {
	k := newKeeping(t)
	k.now = k.now.AddDate(0, 0, 40) // the machine was off during the holidays
	require.Equal(t, 30, k.left())
	for range 23 {
		k.passes(time.Hour)
		require.Equal(t, 30, k.left())
	}
	k.now = k.now.Add(2 * time.Minute) // somebody sets it
	require.Equal(t, 30, k.left())
	k.passes(23 * time.Hour)
	require.Equal(t, 30, k.left(), "a day since then, no less")
	k.passes(time.Hour)
	require.Zero(t, k.left())
}

func TestAClockThatIsSlewedIsSteady(t *testing.T) {
	var s steadiness
	wall, elapsed := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC), time.Duration(0)
	require.False(t, s.look(wall, elapsed))
	for range 24 {
		wall, elapsed = wall.Add(time.Hour+2*time.Second), elapsed+time.Hour
		s.look(wall, elapsed)
	}
	require.True(t, s.look(wall, elapsed))
}

func TestAGateThatIsStartedEachDayForgetsWithoutNTPToo(t *testing.T) {
	k := newKeeping(t)
	for range 40 {
		k.start(k.Path)
		k.writes()
		k.passes(24 * time.Hour)
	}
	require.InDelta(t, 31, k.writes(), 1, "a day or two later")
}

func TestBytesBoundTheLogWhateverTheClockSays(t *testing.T) {
	k := newKeeping(t)
	k.now, k.Bytes = k.now.AddDate(14, 0, 0), 70
	require.Less(t, k.writes(), 10)
}
