package appliance

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
)

func TestWhatALookAtAFileShows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rules.toml")
	require.Equal(t, sight{gone: "the file is not there"}, lookAtFile(path, mostText))
	for text, want := range map[string]sight{
		"":        {gone: "the file is empty"},
		" \r\n\n": {gone: "the file is empty"},
		"a":       {digest: digest([]byte("a"))},
		"a\r\n":   {digest: digest([]byte("a\r\n")), whole: true},
	} {
		write(t, path, text)
		require.Equal(t, want, lookAtFile(path, mostText))
	}
}

func TestALookAtAFolderSeesANewFile(t *testing.T) {
	dir := t.TempDir()
	before := lookAtPath(dir)
	write(t, filepath.Join(dir, "ServiceTags_Public_20260302.json"), "{}")
	require.NotEqual(t, before.digest, lookAtPath(dir).digest)
}

// scene is what a watcher sees, at moments after the start.
type scene struct {
	at   time.Duration
	sees sight
}

// watched plays a scene to a watcher that gets an event at each change (or none,
// so that it has to poll), and tells when it acted on what.
func watched(t *testing.T, judged string, events bool, script ...scene) (acts []scene) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var now sight
		start := time.Now()
		signals := make(chan struct{}, 1)
		w := &watcher{
			look:   func() sight { mu.Lock(); defer mu.Unlock(); return now },
			judged: func() string { return judged },
			act:    func(s sight) { acts = append(acts, scene{time.Since(start), s}) },
		}
		now = script[0].sees
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		done.Go(func() { w.follow(ctx, signals) })
		for _, s := range script {
			time.Sleep(s.at - time.Since(start)) // the bubble's clock, not ours
			mu.Lock()
			now = s.sees
			mu.Unlock()
			if events {
				signals <- struct{}{}
			}
		}
		time.Sleep(time.Minute)
		cancel()
		done.Wait()
	})
	return acts
}

func TestAChangedFileIsTakenOnceItHasSettled(t *testing.T) {
	old, torn, whole := sight{digest: "old", whole: true}, sight{digest: "torn"}, sight{digest: "whole", whole: true}
	gone, empty := sight{gone: "the file is not there"}, sight{gone: "the file is empty"}
	sec, ms := time.Second, time.Millisecond
	for _, c := range []struct {
		name   string
		polled bool
		script []scene
		acts   []scene
	}{
		{name: "nothing happens while nothing changes", script: []scene{{0, old}}},
		{name: "a whole file is taken after half a second", script: []scene{{0, old}, {10 * sec, whole}},
			acts: []scene{{10*sec + 500*ms, whole}}},
		{name: "a file without a line end at its end is taken after three seconds", script: []scene{{0, old}, {10 * sec, torn}},
			acts: []scene{{13 * sec, torn}}},
		{name: "the first half of a write is never taken", script: []scene{{0, old}, {10 * sec, torn}, {12 * sec, whole}},
			acts: []scene{{12*sec + 500*ms, whole}}},
		{name: "while the bytes change the clock begins anew",
			script: []scene{{0, old}, {10 * sec, whole}, {10*sec + 400*ms, sight{digest: "w2", whole: true}}},
			acts:   []scene{{10*sec + 900*ms, sight{digest: "w2", whole: true}}}},
		{name: "an editor that removes and renames is not noticed", script: []scene{{0, old}, {10 * sec, gone}, {10*sec + 100*ms, whole}},
			acts: []scene{{10*sec + 600*ms, whole}}},
		{name: "a file that stays away is said once", script: []scene{{0, old}, {10 * sec, gone}}, acts: []scene{{13 * sec, gone}}},
		{name: "an empty file is said, and the file that follows is taken", script: []scene{{0, old}, {10 * sec, empty}, {20 * sec, whole}},
			acts: []scene{{13 * sec, empty}, {20*sec + 500*ms, whole}}},
		{name: "a change and its undoing are two changes", script: []scene{{0, old}, {10 * sec, whole}, {20 * sec, torn}, {30 * sec, whole}},
			acts: []scene{{10*sec + 500*ms, whole}, {23 * sec, torn}, {30*sec + 500*ms, whole}}},
		{name: "back to what is in force before it settled: nothing", script: []scene{{0, old}, {10 * sec, torn}, {11 * sec, old}}},
		{name: "without events the file is looked at every two seconds", polled: true, script: []scene{{0, old}, {11 * sec, whole}},
			acts: []scene{{12*sec + 500*ms, whole}}},
		{name: "a file that was not there at start is found", polled: true, script: []scene{{0, gone}, {11 * sec, whole}},
			acts: []scene{{3 * sec, gone}, {12*sec + 500*ms, whole}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.acts, watched(t, "old", !c.polled, c.script...))
		})
	}
}

func TestTheSystemTellsOfAnEditorsRename(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "rules.toml")
	write(t, path, "old\n")
	w := &watcher{path: path, log: quiet()}
	events, stop := w.events()
	defer stop()
	if events == nil {
		t.Skip("this machine gives us no events: its inotify instances may all be in use")
	}
	write(t, filepath.Join(dir, "other.toml"), "somebody else's\n")
	write(t, filepath.Join(dir, "rules.toml.new"), "new\n")
	require.NoError(t, os.Rename(filepath.Join(dir, "rules.toml.new"), path))
	select {
	case <-events:
	case <-time.After(nettest.Patience):
		t.Fatal("no event came")
	}
}
