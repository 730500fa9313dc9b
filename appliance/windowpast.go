//go:build linux

package appliance

import (
	"gatehouse/appliance/console"
	"gatehouse/appliance/journal"
)

// Changes implements console.House.
func (w window) Changes(n int) []console.Change {
	entries := w.entries()
	list := make([]console.Change, 0, min(n, len(entries)))
	for _, e := range entries[:min(n, len(entries))] {
		list = append(list, w.changeOf(e))
	}
	return list
}

// entries is the trail as far as it can be read; start has said what cannot.
func (w window) entries() []journal.Entry {
	entries, _, err := w.rulebook.journal.Entries()
	if err != nil {
		w.Log.Warn("the audit trail cannot be read in full", "err", err)
	}
	return entries
}

func (w window) changeOf(e journal.Entry) console.Change {
	return console.Change{Time: w.here(e.Time), By: e.By, What: e.What, Done: e.Done, SHA256: e.SHA256, Words: append([]string{}, e.Words...)}
}

// Versions implements console.House.
func (w window) Versions() []console.Version {
	files, err := w.rulebook.journal.Files()
	if err != nil {
		w.Log.Warn("the history cannot be read", "err", err)
	}
	size := map[string]int64{}
	for _, f := range files {
		size[f.SHA256] = f.Size
	}
	inForce, found := w.rulebook.inForce(), false
	var list []console.Version
	for _, e := range w.entries() {
		if !e.Done || e.SHA256 == "" {
			continue
		}
		v := console.Version{Change: w.changeOf(e)}
		v.Bytes, v.Kept = size[e.SHA256], size[e.SHA256] > 0
		if !found && e.SHA256 == inForce {
			v.InForce, found = true, true
		}
		list = append(list, v)
	}
	return list
}

// Version implements console.House.
func (w window) Version(sha256 string) ([]byte, error) { return w.rulebook.journal.Text(sha256) }

// Compare implements console.House.
func (w window) Compare(before, after string) ([]console.Line, error) {
	old, err := w.Version(before)
	if err != nil {
		return nil, err
	}
	new, err := w.Version(after)
	if err != nil {
		return nil, err
	}
	lines := journal.Compare(old, new)
	list := make([]console.Line, len(lines))
	for i, l := range lines {
		list[i] = console.Line{Sort: l.Sort(), Before: l.Before, After: l.After, Text: l.Text}
	}
	return list, nil
}

// noted writes down a deed that loads no rules.
func (a *Appliance) noted(by, what string, done bool, words ...string) {
	a.rulebook.writeDown(journal.Entry{Time: a.Now(), By: by, What: what, Done: done, Words: words})
}
