package appliance

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"gatehouse/internal/wholefile"
	"gatehouse/rules"
)

// SystemConfig is the configuration file that holds where none is named.
const SystemConfig = "/etc/gatehouse/gatehouse.toml"

// Files says which files hold.
type Files struct {
	Config string // gatehouse.toml; empty: there is none, and the defaults hold
	Rules  string // rules.toml; empty: the rules built in
}

// Locate finds the files that hold, given those that were named (empty: not
// named). A named file must exist: the error wraps fs.ErrNotExist where it does
// not. Where no configuration file exists and no file was named, the built-in
// rules hold.
func Locate(config, rulesFile string) (Files, error) {
	return locate(config, rulesFile, SystemConfig)
}

func locate(config, rulesFile, system string) (Files, error) {
	for _, named := range []struct{ flag, path string }{{"--config", config}, {"--rules", rulesFile}} {
		if named.path == "" {
			continue
		}
		if _, err := os.Stat(named.path); err != nil {
			return Files{}, fmt.Errorf("%s: %w; name a file that is there, or leave %s out", named.flag, err, named.flag)
		}
	}
	f := Files{Config: config, Rules: rulesFile}
	if f.Config == "" {
		if _, err := os.Stat(system); err == nil {
			f.Config = system
		} else if !errors.Is(err, fs.ErrNotExist) {
			return Files{}, fmt.Errorf("look for the configuration: %w; make the file readable, or name another by --config", err)
		}
	}
	if f.Rules == "" && f.Config != "" {
		f.Rules = filepath.Join(filepath.Dir(f.Config), "rules.toml")
	}
	return f, nil
}

// RulesName is the rules file as it is called in messages.
func (f Files) RulesName() string {
	if f.Rules == "" {
		return "built-in rules"
	}
	return f.Rules
}

// ConfigName is the configuration as it is called in messages.
func (f Files) ConfigName() string {
	if f.Config == "" {
		return "built-in defaults"
	}
	return f.Config
}

// ReadRules reads the rules file.
func (f Files) ReadRules() ([]byte, error) {
	if f.Rules == "" {
		return rules.Default(), nil
	}
	return wholefile.Read(f.Rules, mostText)
}

// ReadConfig reads and checks the configuration. Without a file the defaults
// hold, with a state folder of the user's own. The error tells of a file that
// cannot be read.
func (f Files) ReadConfig() (*Config, []rules.Problem, error) {
	if f.Config == "" {
		c := DefaultConfig()
		c.State.Dir = ownState(c.State.Dir)
		return &c, nil, nil
	}
	text, err := wholefile.Read(f.Config, mostText)
	if err != nil {
		return nil, nil, fmt.Errorf("read the configuration: %w; make it readable for this user", err)
	}
	c, problems := ParseConfig(f.Config, text)
	return c, problems, nil
}

// ownState is a folder of the user's own for what the appliance keeps, or the
// system's where the user has no home (in a container it is missing, or "/").
func ownState(system string) string {
	dir, err := os.UserConfigDir()
	if err != nil || filepath.Dir(dir) == "/" {
		return system
	}
	return filepath.Join(dir, "gatehouse")
}
