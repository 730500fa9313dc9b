//go:build linux

package appliance

import (
	"slices"

	"gatehouse/appliance/console"
	"gatehouse/appliance/journal"
)

// guest reports whether nobody who asks here has logged in.
func (w window) guest() bool { return !webConfig(w.Config.Listen.WebConfig).guarded() }

// Backup implements console.House.
func (w window) Backup(by string, secrets bool) ([]byte, []string, error) {
	if secrets && w.guest() {
		w.noted(by, journal.Backup, false, console.ErrNoLogin.Error())
		return nil, nil, console.ErrNoLogin
	}
	file, notes, err := TakeBackup(w.Files, w.Config, w.Build.Version, secrets)
	if err != nil {
		return nil, nil, err
	}
	words := slices.Clone(notes)
	if secrets {
		words = append(words, "with keys and passwords")
	}
	w.noted(by, journal.Backup, true, words...)
	return file, notes, nil
}

// Restore implements console.House. The rules of the backup come on trial.
func (w window) Restore(by string, file []byte, change bool) (console.Restored, error) {
	r, err := ReadRestore(w.Files, w.Config, file, w.guest())
	if err != nil {
		return console.Restored{}, err
	}
	said := func() console.Restored {
		s := console.Restored{Words: append([]string{}, r.Words...), Notes: append([]string{}, r.Notes...), Problems: []string{}, Allowed: r.Allowed()}
		for _, p := range r.Problems {
			s.Problems = append(s.Problems, p.String())
		}
		return s
	}
	if !change || !r.Allowed() {
		return said(), nil
	}
	err = r.Apply(func(rules []byte) error {
		_, err := w.trial.Apply(by, "", rules)
		return err
	})
	if err != nil {
		w.noted(by, journal.Restore, false, err.Error())
		return said(), err
	}
	w.noted(by, journal.Restore, true, r.Words...)
	s := said()
	s.Done, s.Trial = true, w.hereTrial(w.trial.Pending())
	return s, nil
}
