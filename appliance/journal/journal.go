// Package journal is the trail of what people change: who, when and what, in
// words, and every rules file that was in force, kept by its SHA-256.
//
// It is a record, never a condition: whatever is wrong with the folder (a full
// disk, torn lines, somebody's editor) is said to the caller and costs its entry
// or its file, and stops no change. It decides nothing and puts nothing in force.
package journal

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"gatehouse/internal/wholefile"
)

// Entry is one change, or the attempt at one.
type Entry struct {
	Time time.Time `json:"ts"`
	By   string    `json:"by"`   // a login and an address, a user of the machine, or the part of the gate that acted
	What string    `json:"what"` // one of the words below
	Done bool      `json:"done"` // false: it was refused, and Words say why
	// SHA256 is the digest of the rules file that it put in force; empty: none.
	SHA256 string `json:"sha256,omitempty"`
	// Words say what changed, or what was wrong; at most MostWords.
	Words []string `json:"words,omitempty"`
}

// The deeds. They stand in the file and in the JSON interface.
const (
	Start   = "start"   // a gate that was started found other rules than were in force last
	Edit    = "edit"    // the file was changed by an editor, or by whatever else writes files
	Reload  = "reload"  // somebody asked for a reload
	Apply   = "apply"   // a draft was put in force on trial
	Confirm = "confirm" // a draft on trial was kept
	Revert  = "revert"  // the file of before a trial came back
	Import  = "import"  // Azure's service tags were changed
	CA      = "ca"      // the inspection CA was changed
	Backup  = "backup"  // a backup was taken
	Restore = "restore" // a backup was put back
)

const (
	// MostWords and mostWord bound what one entry says (lines, octets of a line).
	MostWords = 50
	mostWord  = 512
	// mostTrail is the size at which a trail is put aside for a new one; the one
	// before it is kept, so there are at most two of them.
	mostTrail = 1 << 20
	trailName = "changes.jsonl"
	asideName = "changes.1.jsonl"
)

// Journal is the folder. Several processes may write to it at once. The empty
// Journal keeps nothing and has nothing.
type Journal string

// Note writes an entry down.
func (j Journal) Note(e Entry) error {
	if j == "" {
		return nil
	}
	line, err := json.Marshal(clipped(e))
	if err != nil {
		return err
	}
	if err := j.append(append(line, '\n')); err != nil {
		return fmt.Errorf("write down who changed what: %w", err)
	}
	return nil
}

func clipped(e Entry) Entry {
	if more := len(e.Words) - MostWords; more > 0 {
		e.Words = append(slices.Clone(e.Words[:MostWords-1]), fmt.Sprintf("and %d more", more+1))
	}
	e.Words, e.By = slices.Clone(e.Words), clip(e.By)
	for i, w := range e.Words {
		e.Words[i] = clip(w)
	}
	e.Time = e.Time.UTC()
	return e
}

func clip(s string) string { return s[:min(len(s), mostWord)] }

// turn is had by one writer of this process at a time.
var turn sync.Mutex

// append adds a line in one write. A line that was cut short before it (a full
// disk) is ended first, so that it costs itself alone.
func (j Journal) append(line []byte) error {
	turn.Lock()
	defer turn.Unlock()
	if err := os.MkdirAll(string(j), 0o700); err != nil {
		return err
	}
	path := j.path(trailName)
	if info, err := os.Stat(path); err == nil && info.Size() > mostTrail {
		if err := os.Rename(path, j.path(asideName)); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if torn(f) {
		line = append([]byte{'\n'}, line...)
	}
	_, err = f.Write(line)
	return errors.Join(err, wholefile.Adopt(f), f.Sync(), f.Close())
}

func torn(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return false
	}
	last := make([]byte, 1)
	_, err = f.ReadAt(last, info.Size()-1)
	return err == nil && last[0] != '\n'
}

// Entries are all that is written down, the newest first. Lines that cannot be
// read are passed over and counted.
func (j Journal) Entries() (all []Entry, unread int, err error) {
	if j == "" {
		return nil, 0, nil
	}
	for _, name := range []string{asideName, trailName} {
		text, failed := wholefile.Read(j.path(name), 4*mostTrail)
		if failed != nil {
			if !errors.Is(failed, fs.ErrNotExist) {
				err = errors.Join(err, failed)
			}
			continue
		}
		found, bad := parse(text)
		all, unread = append(all, found...), unread+bad
	}
	slices.Reverse(all)
	return all, unread, err
}

func parse(text []byte) (all []Entry, unread int) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, len(text)+1)
	for lines.Scan() {
		var e Entry
		switch err := json.Unmarshal(lines.Bytes(), &e); {
		case len(lines.Bytes()) == 0:
		case err != nil || e.Time.IsZero() || e.What == "":
			unread++
		default:
			all = append(all, e)
		}
	}
	return all, unread
}

func (j Journal) path(name string) string { return filepath.Join(string(j), name) }
