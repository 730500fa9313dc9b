package alarm

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// restarted is a Bell that takes up what another has left, by way of its JSON.
func restarted(t *testing.T, b *Bell, at time.Time) (*Bell, *post) {
	t.Helper()
	text, err := json.Marshal(b.State())
	require.NoError(t, err)
	var s State
	require.NoError(t, json.Unmarshal(text, &s))
	again, p, _ := bell(t)
	again.Restore(s, at)
	return again, p
}

func TestARestartNeitherRepeatsNorForgets(t *testing.T) {
	b, p, _ := bell(t)
	b.Ring(t.Context(), noon, []Condition{disk, refused})
	require.Equal(t, []string{"begun agent-refused/xporter/updates", "begun disk-full/"}, p.told())

	b, p = restarted(t, b, noon.Add(time.Hour))
	b.Ring(t.Context(), noon.Add(time.Hour), []Condition{disk})
	b.Ring(t.Context(), noon.Add(time.Hour+4*time.Minute), []Condition{disk})
	require.Empty(t, p.told(), "one is told already, and the other not over yet")
	b.Ring(t.Context(), noon.Add(time.Hour+5*time.Minute), []Condition{disk})
	require.Equal(t, noon, p.got[0].Events[0].Since)
	require.Equal(t, []string{"over agent-refused/xporter/updates"}, p.told())

	b, p = restarted(t, b, noon.Add(23*time.Hour))
	b.Ring(t.Context(), noon.Add(24*time.Hour), []Condition{disk})
	require.Equal(t, []string{"lasts disk-full/"}, p.told(), "a day after it was told, not after the restart")
}

func TestWhatCouldNotBeSentIsSentAfterARestart(t *testing.T) {
	b, p, _ := bell(t)
	p.fail = errors.New("no route")
	b.Ring(t.Context(), noon, []Condition{disk})
	b, p = restarted(t, b, noon.Add(10*time.Second))
	b.Ring(t.Context(), noon.Add(30*time.Second), []Condition{disk})
	require.Empty(t, p.told(), "no sooner than without the restart")
	b.Ring(t.Context(), noon.Add(time.Minute), []Condition{disk})
	require.Equal(t, []string{"begun disk-full/"}, p.told())
}

func TestAClockThatWasWrongSilencesNothing(t *testing.T) {
	b, p, _ := bell(t)
	p.fail = errors.New("no route")
	wrong := noon.AddDate(10, 0, 0)
	b.Ring(t.Context(), wrong, []Condition{disk})
	b, p = restarted(t, b, noon)
	b.Ring(t.Context(), noon.Add(longest), []Condition{disk})
	require.Equal(t, []string{"begun disk-full/"}, p.told())
	b.Ring(t.Context(), noon.Add(24*time.Hour), []Condition{disk})
	require.Equal(t, []string{"lasts disk-full/"}, p.told())
}

func TestAStateOfAnotherMakeIsTakenAsFarAsItGoes(t *testing.T) {
	b, p, _ := bell(t)
	b.Restore(State{Owed: []Debt{{Sender: "pager", Events: []Event{{Kind: DiskFull}}}, {Sender: "post", Failures: -3, Events: make([]Event, 3*mostPending)}}}, noon)
	require.Len(t, b.owed[0].events, mostPending)
	require.Zero(t, b.owed[0].failures)
	b.Ring(t.Context(), noon, nil)
	require.Len(t, p.got, 1)
}
