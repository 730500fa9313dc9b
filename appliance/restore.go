//go:build linux

package appliance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"gatehouse/appliance/backup"
	"gatehouse/appliance/journal"
	"gatehouse/internal/servicetags"
	"gatehouse/internal/wholefile"
	"gatehouse/rules"
)

// Restoration is a backup that was weighed: what putting it back would change.
type Restoration struct {
	Words    []string        // what changes, in words; empty: nothing does
	Notes    []string        // what is not put back, and why
	Problems []rules.Problem // where one is an error it may not be put back

	files   Files
	guest   bool // nobody has logged in: rules and history alone
	steps   []step
	rules   []byte // nil: the rules stay as they are
	journal journal.Journal
	past    map[string][]byte // of the history
}

// step is one file that is written.
type step struct {
	path string
	text []byte
	mode fs.FileMode // where it is not there yet
}

// WeighRestore holds a backup against what is there: the configuration and the
// rules are checked as at every load, tests and all, with the password files and
// the service tags of the backup. Nothing is changed. For a guest, who has not logged
// in, nothing but rules and history is put back.
func WeighRestore(files Files, present *Config, c backup.Content, guest bool) (*Restoration, error) {
	r := &Restoration{files: files, guest: guest, journal: historyIn(present.State.Dir), past: below(c, backup.History)}
	config, err := r.config(present, c)
	if err != nil || rules.HasErrors(r.Problems) {
		return r, err
	}
	tags := r.tags(config, c)
	named := r.weighRules(config, tags, c)
	r.logins(c, named, present, config)
	r.secrets(config, c)
	r.history()
	return r, nil
}

func (r *Restoration) say(format string, args ...any) {
	r.Words = append(r.Words, fmt.Sprintf(format, args...))
}

func (r *Restoration) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// replace takes a file among the steps, where it is another than the one there.
func (r *Restoration) replace(what, path string, text []byte, mode fs.FileMode, then string) {
	had, err := wholefile.Read(path, mostTags)
	switch {
	case err == nil && bytes.Equal(had, text):
		return
	case r.guest:
		r.note("%s (%s) is not put back, because this console asks for no login: use \"gatehouse restore\" on the machine, or set up a login (listen.web_config)", what, path)
		return
	case errors.Is(err, fs.ErrNotExist):
		r.say("%s (%s) is not there and is put back%s", what, path, then)
	case err != nil:
		r.note("%s is not put back: %v", path, err)
		return
	default:
		gone, new := 0, 0
		for _, l := range journal.Compare(had, text) {
			switch l.Sort() {
			case "removed":
				gone++
			case "added":
				new++
			}
		}
		r.say("%s (%s): %d lines go away, %d come%s", what, path, gone, new, then)
	}
	r.steps = append(r.steps, step{path, text, mode})
}

// config is the configuration that would hold.
func (r *Restoration) config(present *Config, c backup.Content) (*Config, error) {
	text := c.Files[backup.Config]
	switch {
	case text == nil:
		return present, nil
	case r.files.Config == "":
		r.note("gatehouse.toml is not put back: this gatehouse goes by built-in defaults; name a configuration by --config")
		return present, nil
	}
	had, err := wholefile.Read(r.files.Config, mostText)
	if err != nil {
		return nil, err
	}
	text, left := withPasswords(text, had)
	if r.guest {
		r.replace("the configuration", r.files.Config, text, 0, "")
		return present, nil
	}
	if left > 0 {
		r.note("%d passwords of parent proxies and webhooks are not in the backup, and not in the present gatehouse.toml: write them in the place of %s", left, mask)
	}
	config, problems := ParseConfig(r.files.Config, text)
	r.Problems = append(r.Problems, problems...)
	if rules.HasErrors(problems) {
		return present, nil
	}
	r.replace("the configuration", r.files.Config, text, 0o644, "; it holds after a restart")
	return config, nil
}

// tags is the list by which the rules would be judged. One that is older than the
// one in force stays out: addresses that Azure has taken into use since would be
// refused.
func (r *Restoration) tags(config *Config, c backup.Content) *servicetags.File {
	before, err := config.TagsInForce()
	if err != nil {
		before = servicetags.Builtin()
	}
	for name, text := range below(c, backup.Azure) {
		f, err := servicetags.Parse(bytes.NewReader(text), name)
		switch {
		case err != nil:
			r.note("the Azure service tags are not put back: %v", err)
		case config.Azure.Tags == "":
			r.note("the Azure service tags are not put back: azure.tags of gatehouse.toml names no place for them")
		case f.Older(before):
			r.note("the Azure service tags are not put back: those in force are newer")
		default:
			path := config.Azure.Tags
			if info, err := os.Stat(path); err == nil && info.IsDir() || err != nil && filepath.Ext(path) == "" {
				path = filepath.Join(path, name)
			}
			r.replace("the Azure service tags", path, text, 0o644, "")
			if r.guest {
				return before
			}
			return f
		}
	}
	return before
}

// weighRules also says which files, by their cleaned paths, the rules name.
func (r *Restoration) weighRules(config *Config, tags *servicetags.File, c backup.Content) (named map[string]bool) {
	text := c.Files[backup.Rules]
	switch {
	case text == nil:
		return nil
	case r.files.Rules == "":
		r.note("rules.toml is not put back: this gatehouse goes by the rules built in; name a file by --rules")
		return nil
	}
	env := config.Env()
	env.Now, env.Tags = time.Now(), tags
	if authority, err := config.authority(env.Now); err == nil && authority != nil {
		env.Vouches = authority.Covers
	}
	old, _ := r.files.ReadRules()
	before, _ := rules.Load(r.files.RulesName(), old, env)
	named = map[string]bool{}
	env.ReadFile = func(path string) ([]byte, error) {
		named[filepath.Clean(path)] = true
		if filepath.Dir(path) == filepath.Dir(r.files.Rules) && !r.guest {
			for _, folder := range []string{backup.Logins, backup.Keys} {
				if found, ok := c.Files[folder+filepath.Base(path)]; ok {
					return found, nil
				}
			}
		}
		return wholefile.Read(path, mostText)
	}
	after, problems := rules.Load(r.files.RulesName(), text, env)
	r.Problems = append(r.Problems, foremost(problems)...)
	if after == nil || bytes.Equal(old, text) {
		return named
	}
	r.rules = text
	words := rules.Changes(before, after)
	if len(words) == 0 {
		words = []string{"no rule changes"}
	}
	for _, w := range words {
		r.say("the rules: %s", w)
	}
	return named
}

// secrets takes the files that only a backup with secrets has.
func (r *Restoration) secrets(config *Config, c backup.Content) {
	if text := c.Files[backup.Web]; text != nil {
		if path := config.Listen.WebConfig; path != "" {
			r.replace("the web configuration", path, text, 0o640, "")
		} else {
			r.note("the web configuration is not put back: listen.web_config of gatehouse.toml names no place for it")
		}
	}
	files := below(c, backup.CA)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		r.replace("the inspection CA", filepath.Join(config.CAFolder(), name), files[name], 0o600, "")
	}
}

// history says how much of the past comes back; what is there already stays.
func (r *Restoration) history() {
	if n := r.journal.Lacks(r.past); n > 0 {
		r.say("the history: %d changes and files that are not in it come back", n)
	}
}

// Allowed reports whether nothing forbids putting it back.
func (r *Restoration) Allowed() bool { return !rules.HasErrors(r.Problems) }

// Apply writes what was weighed but the rules, which put is given and puts in
// force. Where it fails, what was written before is as it was.
func (r *Restoration) Apply(put func(rules []byte) error) (err error) {
	if !r.Allowed() {
		return errors.New("what the backup holds cannot be loaded; nothing is put back")
	}
	var undo []func() error
	defer func() {
		for _, back := range slices.Backward(undo) {
			if err != nil {
				err = errors.Join(err, back())
			}
		}
	}()
	for _, s := range r.steps {
		back, err := s.write()
		if err != nil {
			return fmt.Errorf("put %s back: %w; nothing is put back", s.path, err)
		}
		undo = append(undo, back)
	}
	if r.rules != nil {
		if err := put(r.rules); err != nil {
			return fmt.Errorf("put the rules back: %w; nothing is put back", err)
		}
	}
	undo = nil // a history that cannot be written is no reason
	if err := r.journal.Merge(r.past); err != nil {
		r.note("the history could not be put back: %v", err)
	}
	return nil
}

// write writes a file, and gives what undoes it.
func (s step) write() (back func() error, err error) {
	had, err := wholefile.Read(s.path, mostTags)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(s.path), 0o750); err != nil {
			return nil, err
		}
		f, err := os.OpenFile(s.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, s.mode)
		if err != nil {
			return nil, err
		}
		_, err = f.Write(s.text)
		back = func() error { return os.Remove(s.path) }
		if err = errors.Join(err, wholefile.Adopt(f), f.Sync(), f.Close()); err != nil {
			return nil, errors.Join(err, back())
		}
		return back, nil
	}
	if err != nil {
		return nil, err
	}
	return func() error { return overwrite(s.path, had) }, overwrite(s.path, s.text)
}

// TakeBackup is Backup as one file.
func TakeBackup(files Files, config *Config, version string, secrets bool) (file []byte, notes []string, err error) {
	c, notes, err := Backup(files, config, version, secrets)
	if err != nil {
		return nil, nil, err
	}
	var b bytes.Buffer
	err = c.Write(&b)
	return b.Bytes(), notes, err
}

// ReadRestore weighs a backup that is one file.
func ReadRestore(files Files, present *Config, file []byte, guest bool) (*Restoration, error) {
	c, err := backup.Read(file)
	if err != nil {
		return nil, err
	}
	return WeighRestore(files, present, c, guest)
}

// Here puts a backup back from this process, as a user of this machine; a gate
// that runs is asked to load the rules. It says what came of it.
func (r *Restoration) Here(ctx context.Context) (words string, err error) {
	by := localUser(os.Getuid())
	note := func(done bool, words ...string) error {
		return r.journal.Note(journal.Entry{Time: time.Now(), By: by, What: journal.Restore, Done: done, Words: words})
	}
	err = r.Apply(func(text []byte) error { return overwriteOrMake(r.files.Rules, text) })
	if err != nil {
		return "", errors.Join(err, note(false, err.Error()))
	}
	words = "put back\n"
	if err := note(true, r.Words...); err != nil {
		words += "it is not in the audit trail: " + err.Error() + "\n"
	}
	if r.rules == nil {
		return words, nil
	}
	_, said, err := NewControl(filepath.Dir(string(r.journal))).Reload(ctx, true)
	if errors.Is(err, ErrNotRunning) {
		return words + "no running gatehouse answers; it takes the files when it is started\n", nil
	}
	return words + said, err
}

// overwriteOrMake writes a file that may be missing, on a machine set up anew.
func overwriteOrMake(path string, text []byte) error {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		_, err := step{path, text, 0o644}.write()
		return err
	}
	return overwrite(path, text)
}
