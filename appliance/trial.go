//go:build linux

package appliance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"gatehouse/appliance/console"
	"gatehouse/appliance/journal"
	"gatehouse/internal/wholefile"
)

// trialTime is how long a draft that was put in force waits for its
// confirmation. Whoever has shut himself out by it needs only to wait.
const trialTime = 10 * time.Minute

// trial puts drafts of the rules file in its place, and the file of before back
// where nobody confirms. What it must remember is kept in a file, so that a
// restart ends no trial.
type trial struct {
	keep  string // the file; empty: trials end with the process
	files Files
	load  func(cause) Outcome                               // reloads the rules file, at once
	note  func(by, what string, done bool, words ...string) // writes down a deed that loads nothing
	// good is what a file may come back to: itself or, where it cannot be loaded,
	// the rules in force.
	good func(file []byte) []byte
	log  *slog.Logger
	now  func() time.Time

	mu      sync.Mutex
	pending *pending
}

// pending is a draft on trial.
type pending struct {
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"`
	Before []byte    `json:"before"` // the rules file of before
	Draft  string    `json:"draft"`  // digest of the draft
}

// open takes up the trial that an earlier process left.
func (t *trial) open() {
	t.mu.Lock()
	defer t.mu.Unlock()
	text, err := wholefile.Read(t.keep, 2*mostText) // a rules file in base64
	if t.keep == "" || errors.Is(err, fs.ErrNotExist) {
		return
	}
	var p pending
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err != nil {
		t.log.Error("a draft was on trial, and what was to come back cannot be read; the rules file stays as it is: look at it", "file", t.keep, "err", err)
		return
	}
	t.pending = &p
}

// alone does something while no draft is on its way into the file's place: what
// has been written from here is loaded from here, and nobody else's deed.
func (t *trial) alone(do func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	do()
}

// Pending is the trial that waits, nil where none does.
func (t *trial) Pending() *console.Trial {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.told()
}

func (t *trial) told() *console.Trial {
	if t.pending == nil {
		return nil
	}
	return &console.Trial{Since: t.pending.Since, Until: t.pending.Until, SHA256: t.pending.Draft}
}

// Writable reports whether drafts can be put in the rules file's place.
func (t *trial) Writable() bool {
	if t.files.Rules == "" {
		return false
	}
	f, err := os.OpenFile(t.files.Rules, os.O_WRONLY, 0)
	if err != nil {
		return false
	}
	return f.Close() == nil
}

// Apply puts a draft in force and on trial. base is the digest of the file that it was
// made from: where another is there by now the draft is not taken, for it would undo
// what somebody else has done; empty: whatever is there. A draft after a draft leaves
// what comes back as it was, unless somebody else wrote the file in between.
func (t *trial) Apply(by, base string, draft []byte) (console.Trial, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.Writable() {
		return console.Trial{}, console.ErrReadOnly
	}
	present, err := t.files.ReadRules()
	switch {
	case err != nil:
		return console.Trial{}, err
	case base != "" && base != digest(present):
		return console.Trial{}, console.ErrStale
	}
	before := t.good(present)
	if t.pending != nil && t.pending.Draft == digest(present) {
		before = t.pending.Before
	}
	if bytes.Contains(present, []byte("\r\n")) && !bytes.Contains(draft, []byte("\r\n")) { // the file keeps the line ends it had
		draft = bytes.ReplaceAll(draft, []byte("\n"), []byte("\r\n"))
	}
	p := &pending{Since: t.now(), Until: t.now().Add(trialTime), Before: before, Draft: digest(draft)}
	if err := t.remember(p); err != nil {
		return console.Trial{}, fmt.Errorf("the file of before cannot be kept, so the draft is not put in force: %w", err)
	}
	if err := overwrite(t.files.Rules, draft); err != nil {
		return console.Trial{}, errors.Join(err, t.remember(t.pending))
	}
	if o := t.load(cause{by, journal.Apply}); !o.Taken {
		err := errors.Join(fmt.Errorf("the draft was not taken: %s", o.text()), overwrite(t.files.Rules, present), t.remember(t.pending))
		t.load(cause{})
		return console.Trial{}, err
	}
	t.pending = p
	t.log.Warn("rules: a draft is in force on trial; the file of before comes back unless it is confirmed", "by", by, "until", p.Until, "sha256", p.Draft)
	return *t.told(), nil
}

// Confirm keeps the draft of a digest; empty: whichever is on trial.
func (t *trial) Confirm(by, draft string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.waits(draft); err != nil {
		return err
	}
	if err := t.remember(nil); err != nil {
		return fmt.Errorf("the draft stays on trial, for what was kept of it cannot be taken away: %w", err)
	}
	t.note(by, journal.Confirm, true, "the draft of "+t.pending.Since.UTC().Format(time.RFC3339)+" stays")
	t.log.Info("rules: the draft is confirmed and stays", "by", by, "sha256", t.pending.Draft)
	t.pending = nil
	return nil
}

// Revert takes the draft of a digest back and brings the file of before; empty:
// whichever is on trial.
func (t *trial) Revert(by, draft string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.waits(draft); err != nil {
		return err
	}
	return t.revert(by)
}

// waits is nil where a draft is on trial and it is the one that is meant.
func (t *trial) waits(draft string) error {
	switch {
	case t.pending == nil:
		return console.ErrNoTrial
	case draft != "" && draft != t.pending.Draft:
		return console.ErrOtherTrial
	}
	return nil
}

// tend ends a trial that nobody confirmed in time.
func (t *trial) tend() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pending == nil || t.now().Before(t.pending.Until) {
		return
	}
	switch err := t.revert("the end of its trial"); {
	case err != nil && t.pending != nil:
		t.log.Error("rules: the file of before cannot be put back; the draft stays in force, and this is tried again in a minute", "err", err)
		t.pending.Until = t.now().Add(time.Minute)
	case err != nil:
		t.log.Error("rules: the trial of a draft is over", "err", err)
	}
}

func (t *trial) revert(by string) error {
	p := t.pending
	present, err := t.files.ReadRules()
	switch {
	case err == nil && digest(present) != p.Draft:
		t.log.Warn("rules: the file was changed by somebody else while a draft was on trial; it stays as it is, and the trial is over", "by", by)
		t.pending = nil
		return errors.Join(console.ErrFileChanged, t.remember(nil))
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := overwrite(t.files.Rules, p.Before); err != nil {
		return err
	}
	t.pending = nil
	o := t.load(cause{by, journal.Revert})
	t.log.Warn("rules: the file of before is back", "by", by, "taken", o.Taken)
	err = t.remember(nil)
	if !o.Taken {
		return errors.Join(fmt.Errorf("the file of before is back and cannot be loaded, so the draft stays in force until the file is repaired: %s", o.text()), err)
	}
	return err
}

// remember keeps p for the next process, or forgets what was kept.
func (t *trial) remember(p *pending) error {
	switch {
	case t.keep == "":
		return nil
	case p == nil:
		if err := os.Remove(t.keep); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(t.keep), 0o700); err != nil {
		return err
	}
	return wholefile.Replace(t.keep, text, wholefile.Mode(0o644))
}
