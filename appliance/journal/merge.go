package journal

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"gatehouse/internal/wholefile"
)

// Stands reports whether a file of that name is one of a journal.
func Stands(name string) bool {
	sum, kept := strings.CutSuffix(name, fileExt)
	return name == trailName || name == asideName || kept && IsDigest(sum)
}

// Lacks counts the entries and files of another journal, by the names of its
// files, that this one has not.
func (j Journal) Lacks(other map[string][]byte) int {
	entries, files := j.missing(other)
	return len(entries) + len(files)
}

// missing are the entries and files of another journal that this one has not. What
// is no entry, or no file of its digest, is passed over.
func (j Journal) missing(other map[string][]byte) (entries []Entry, files [][]byte) {
	had := map[string]bool{}
	present, _, _ := j.Entries()
	for _, e := range present {
		had[key(e)] = true
	}
	for _, name := range []string{asideName, trailName} {
		all, _ := parse(other[name])
		for _, e := range all {
			if !had[key(e)] {
				had[key(e)] = true
				entries = append(entries, e)
			}
		}
	}
	for name, text := range other {
		if sum, ok := strings.CutSuffix(name, fileExt); !ok || sum != Digest(text) {
			continue
		} else if _, err := j.Text(sum); err != nil {
			files = append(files, text)
		}
	}
	return entries, files
}

func key(e Entry) string {
	text, _ := json.Marshal(clipped(e)) // texts and a time
	return string(text)
}

// Merge takes in what another journal has and this one has not, in the order of
// time; as much of the trail as there is room for, the newest first.
func (j Journal) Merge(other map[string][]byte) error {
	if j == "" {
		return nil
	}
	entries, files := j.missing(other)
	if len(entries)+len(files) == 0 {
		return nil
	}
	last := map[string]time.Time{} // when each file was in force
	for _, e := range entries {
		if e.SHA256 != "" && e.Time.After(last[e.SHA256]) {
			last[e.SHA256] = e.Time
		}
	}
	var errs []error
	for _, text := range files {
		errs = append(errs, j.keep(text, last[Digest(text)]))
	}
	errs = append(errs, j.prune())
	if len(entries) > 0 {
		errs = append(errs, j.rewrite(entries))
	}
	return errors.Join(errs...)
}

func (j Journal) rewrite(entries []Entry) error {
	turn.Lock()
	defer turn.Unlock()
	present, _, err := j.Entries()
	if err != nil {
		return err
	}
	all := append(entries, present...)
	slices.SortStableFunc(all, func(a, b Entry) int { return b.Time.Compare(a.Time) })
	var lines []string
	room := mostTrail
	for _, e := range all {
		line := key(e) + "\n"
		if room -= len(line); room < 0 {
			break
		}
		lines = append(lines, line)
	}
	slices.Reverse(lines)
	if err := os.MkdirAll(string(j), 0o700); err != nil {
		return err
	}
	if err := wholefile.Replace(j.path(trailName), []byte(strings.Join(lines, "")), wholefile.Adopt); err != nil {
		return err
	}
	if err := os.Remove(j.path(asideName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
