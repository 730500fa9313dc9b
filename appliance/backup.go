package appliance

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"gatehouse/appliance/backup"
	"gatehouse/appliance/journal"
	"gatehouse/internal/servicetags"
	"gatehouse/internal/wholefile"
	"gatehouse/rules"
)

// historyIn is the folder of a state.dir in which the journal stands.
func historyIn(stateDir string) journal.Journal {
	return journal.Journal(filepath.Join(stateDir, "history"))
}

// collection is a backup in the making.
type collection struct {
	backup.Content
	notes []string // what is not in it, and why
}

func (c *collection) note(format string, args ...any) {
	c.notes = append(c.notes, fmt.Sprintf(format, args...))
}

// put takes a file in; one that cannot be read or named is noted.
func (c *collection) put(name, path string) {
	text, err := wholefile.Read(path, mostTags)
	switch {
	case err != nil:
		c.note("%s is not in the backup: %v", path, err)
	case !backup.MayStand(name):
		c.note("%s is not in the backup: its name has unusual characters", path)
	default:
		c.Files[name] = text
	}
}

// Backup collects everything that makes this gate what it is: rules, configuration,
// password files beside the rules, the list of service tags and the history; with
// secrets also files with private keys, the inspection CA, the web configuration and the passwords of
// parent proxies and the webhook. The notes say what is not in it.
func Backup(files Files, config *Config, version string, secrets bool) (backup.Content, []string, error) {
	c := &collection{Content: backup.Content{MadeBy: version, Secrets: secrets, Files: map[string][]byte{}}}
	text, err := files.ReadRules()
	if err != nil {
		return c.Content, nil, fmt.Errorf("back up the rules: %w", err)
	}
	c.Files[backup.Rules] = text
	c.named(files, config, text)
	if files.Config != "" {
		if text, err = wholefile.Read(files.Config, mostText); err != nil {
			return c.Content, nil, fmt.Errorf("back up the configuration: %w", err)
		}
		_, problems := ParseConfig(files.Config, text)
		switch {
		case secrets:
			c.Files[backup.Config] = text
		case rules.HasErrors(problems):
			c.note("%s is not in the backup: it has errors, and where its passwords are is not sure", files.Config)
		default:
			c.Files[backup.Config] = withoutPasswords(text)
		}
	}
	c.tags(config)
	c.history(historyIn(config.State.Dir))
	if secrets {
		c.secrets(config)
	}
	return c.Content, c.notes, nil
}

// named takes in the password files and the files of TLS that the rules name, where
// they lie beside them: a path that leads elsewhere is not for a backup to write to.
func (c *collection) named(files Files, config *Config, text []byte) {
	env := config.Env()
	seen := map[string]bool{}
	env.ReadFile = func(path string) ([]byte, error) {
		found, err := wholefile.Read(path, mostText)
		if err == nil && !seen[path] {
			seen[path] = true
			c.beside(files, path, bytes.Contains(found, []byte("PRIVATE KEY-----")))
		}
		return found, err
	}
	rules.Load(files.RulesName(), text, env)
}

func (c *collection) beside(files Files, path string, secret bool) {
	switch {
	case filepath.Dir(path) != filepath.Dir(files.Rules):
		c.note("%s is not in the backup, because it does not lie beside the rules", path)
	case !secret:
		c.put(backup.Logins+filepath.Base(path), path)
	case c.Secrets:
		c.put(backup.Keys+filepath.Base(path), path)
	default:
		c.note("%s is not in the backup, because a private key is in it: --secrets takes it along", path)
	}
}

func (c *collection) tags(config *Config) {
	if config.Azure.Tags == "" {
		return
	}
	f, err := servicetags.LoadPath(config.Azure.Tags)
	if err != nil {
		if !noTags(err) {
			c.note("the Azure service tags are not in the backup: %v", err)
		}
		return
	}
	c.put(backup.Azure+filepath.Base(f.Name), f.Name)
}

func (c *collection) history(j journal.Journal) {
	entries, err := os.ReadDir(string(j))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.note("the history is not in the backup: %v", err)
	}
	for _, e := range entries {
		if journal.Stands(e.Name()) {
			c.put(backup.History+e.Name(), filepath.Join(string(j), e.Name()))
		}
	}
}

func (c *collection) secrets(config *Config) {
	if path := config.Listen.WebConfig; path != "" {
		c.put(backup.Web, path)
	}
	entries, err := os.ReadDir(config.CAFolder())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.note("the inspection CA is not in the backup: %v", err)
	}
	for _, e := range entries {
		if e.Type().IsRegular() {
			c.put(backup.CA+e.Name(), filepath.Join(config.CAFolder(), e.Name()))
		}
	}
}

// below is what a backup holds below a folder, by the names without it.
func below(c backup.Content, folder string) map[string][]byte {
	found := map[string][]byte{}
	for name, text := range c.Files {
		if rest, ok := strings.CutPrefix(name, folder); ok {
			found[rest] = text
		}
	}
	return found
}
