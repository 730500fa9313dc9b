package appliance

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"

	"gatehouse/internal/wholefile"
)

const (
	// pollEvery is how often a file is looked at even where no event came:
	// bind mounts, network folders and Kubernetes' links tell of nothing.
	pollEvery = 2 * time.Second
	// settleWhole and settleTorn are how long the bytes must have been the same
	// before they are taken, with a line end at their end and without. An editor
	// that writes in two goes must not have its first half put in force.
	settleWhole = 500 * time.Millisecond
	settleTorn  = 3 * time.Second
)

// sight is what one look at a file or folder showed.
type sight struct {
	digest string // empty where there is nothing to take
	whole  bool   // it ends in a line end
	gone   string // why there is nothing to take; empty where there is
}

// key tells two sights apart.
func (s sight) key() string { return s.digest + s.gone }

// lookAtFile reads a file. An empty one is nothing: an editor or a full disk
// leaves it for a moment, and nobody means it.
func lookAtFile(path string, most int64) sight {
	text, err := wholefile.Read(path, most)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return sight{gone: "the file is not there"}
	case err != nil:
		return sight{gone: "the file cannot be read"}
	case len(bytes.TrimSpace(text)) == 0:
		return sight{gone: "the file is empty"}
	}
	return sight{digest: digest(text), whole: text[len(text)-1] == '\n'}
}

// lookAtPath looks at a file, or at the names, sizes and times of a folder.
func lookAtPath(path string) sight {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return lookAtFile(path, mostTags)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return sight{gone: "the folder cannot be read"}
	}
	sum := sha256.New()
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			fmt.Fprintf(sum, "%q %d %d\n", e.Name(), info.Size(), info.ModTime().UnixNano())
		}
	}
	return sight{digest: hex.EncodeToString(sum.Sum(nil))}
}

// settling waits until a file has stopped changing.
type settling struct {
	seen  string // the key of the last sight
	since time.Time
	acted string // the key that was acted on last
}

// look takes in one sight. It is ready where the sight is news and has stood
// long enough; otherwise again says after what time to look next (0: at the
// next event).
func (s *settling) look(now time.Time, seen sight, judged string) (ready bool, again time.Duration) {
	key := seen.key()
	switch {
	case seen.digest != "" && seen.digest == judged:
		*s = settling{}
		return false, 0
	case key == s.acted:
		s.seen = ""
		return false, 0
	case key != s.seen:
		s.seen, s.since = key, now
	}
	wait := settleTorn
	if seen.whole {
		wait = settleWhole
	}
	if left := wait - now.Sub(s.since); left > 0 {
		return false, left
	}
	s.seen, s.acted = "", key
	return true, 0
}

// watcher looks at one path and acts when it has changed and settled.
type watcher struct {
	path   string
	look   func() sight
	judged func() string // digest of what was tried last by anybody
	act    func(sight)
	log    *slog.Logger
}

// run watches until ctx is done. Where the system tells of no events, polling
// goes on.
func (w *watcher) run(ctx context.Context) {
	events, stop := w.events()
	defer stop()
	w.follow(ctx, events)
}

// follow looks at each event, and each pollEvery, and acts on what has settled.
func (w *watcher) follow(ctx context.Context, events <-chan struct{}) {
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	again := time.NewTimer(0)
	defer again.Stop()
	var settle settling
	for {
		select {
		case <-ctx.Done():
			return
		case <-events:
		case <-poll.C:
		case <-again.C:
		}
		seen := w.look()
		ready, wait := settle.look(time.Now(), seen, w.judged())
		if ready {
			w.act(seen)
		}
		if wait > 0 {
			again.Reset(wait)
		}
	}
}

// events gives a signal for each change of the path. Of a file the folder is
// watched, because editors put a new file in its place.
func (w *watcher) events() (<-chan struct{}, func()) {
	folder, concerns := filepath.Dir(w.path), func(name string) bool { return filepath.Base(name) == filepath.Base(w.path) }
	if info, err := os.Stat(w.path); err == nil && info.IsDir() {
		folder, concerns = w.path, func(string) bool { return true }
	}
	system, err := fsnotify.NewWatcher()
	if err == nil {
		if err = system.Add(folder); err != nil {
			system.Close()
		}
	}
	if err != nil {
		w.log.Info("no events for changes of files; looking at them every two seconds instead", "path", w.path, "err", err)
		return nil, func() {}
	}
	signals, done := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case e, ok := <-system.Events:
				if !ok {
					return
				}
				if !concerns(e.Name) {
					continue
				}
			case _, ok := <-system.Errors: // a queue that ran over: look
				if !ok {
					return
				}
			}
			select {
			case signals <- struct{}{}:
			default:
			}
		}
	}()
	return signals, func() { system.Close(); <-done }
}
