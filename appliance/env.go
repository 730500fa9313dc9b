package appliance

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gatehouse/internal/ca"
	"gatehouse/rules"
)

// Env is what a rules file depends on, as far as the configuration says it;
// time, tags and what was in force last are for the caller to add.
func (c *Config) Env() rules.Env {
	return rules.Env{
		Zone: c.Timezone.Zone(), ClientsAllow: prefixesOf(c.Clients.Allow),
		TreatAsPublic: prefixesOf(c.Addresses.TreatAsPublic), Inspection: c.Inspection.Enabled, Parents: c.parentNames(),
		Doors: c.doors(),
	}
}

// doors are the listeners of TCP.
func (c *Config) doors() (all []rules.Door) {
	for _, l := range []struct {
		key  string
		list []Address
	}{
		{"listen.proxy", c.Listen.Proxy}, {"listen.dns", c.Listen.DNS}, {"listen.dns_tls", c.Listen.DNSTLS}, {"listen.admin", []Address{c.Listen.Admin}},
		{"listen.metrics", c.Listen.Metrics}, {"listen.pac", c.Listen.PAC}, {"listen.gateway", c.Listen.Gateway},
	} {
		for _, a := range l.list {
			all = append(all, rules.Door{Key: l.key, At: a.AddrPort})
		}
	}
	return all
}

// EnvNow is the whole of what a rules file depends on at this moment, for
// commands that ask without a running appliance.
func (c *Config) EnvNow() (rules.Env, error) {
	env := c.Env()
	shelf := c.newTags()
	f, err := shelf.read()
	if err != nil {
		return env, err
	}
	shelf.swap(f)
	env.Now, env.Tags = time.Now(), shelf
	if authority, err := c.authority(env.Now); err == nil && authority != nil {
		env.Vouches = authority.Covers
	}
	return env, nil
}

// authority is the inspection CA, nil where inspection is off.
func (c *Config) authority(now time.Time) (*ca.Authority, error) {
	if !c.Inspection.Enabled {
		return nil, nil
	}
	return ca.Load(c.CAFolder(), now)
}

// EnvBeside is what a rules file depends on: the configuration that is named or,
// where none is, the gatehouse.toml in the file's own folder. Where there is
// neither, defaults are taken, and the notes say which answers depend on that.
func EnvBeside(rulesFile, config string) (env rules.Env, notes []string, err error) {
	if config == "" {
		config = filepath.Join(filepath.Dir(rulesFile), "gatehouse.toml")
		if _, err := os.Stat(config); errors.Is(err, fs.ErrNotExist) {
			c := DefaultConfig()
			env, err := c.EnvNow()
			return env, []string{"no gatehouse.toml beside the file: dates, tags, inspection and further clients are judged as by default; name one by --config"}, err
		}
	}
	c, problems, err := Files{Config: config}.ReadConfig()
	switch {
	case err != nil:
		return env, nil, err
	case rules.HasErrors(problems):
		return env, nil, fmt.Errorf("%s has errors, and the rules depend on it; repair it first:\n%s", config, strings.Join(brief(problems), "\n"))
	}
	if _, err := c.authority(time.Now()); err != nil {
		notes = append(notes, fmt.Sprintf("inspection is on, but its CA cannot be used: %v; until then what has to be inspected is refused", err))
	}
	env, err = c.EnvNow()
	return env, notes, err
}
