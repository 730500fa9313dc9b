package appliance

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWhichFilesHold(t *testing.T) {
	dir := t.TempDir()
	system := filepath.Join(dir, "etc", "gatehouse.toml")
	mine, rulesFile := filepath.Join(dir, "mine", "gate.toml"), filepath.Join(dir, "rules.toml")
	write(t, mine, "")
	write(t, rulesFile, "")
	missing := filepath.Join(dir, "missing.toml")
	for _, c := range []struct {
		name                  string
		hasSystem             bool
		config, rules         string
		wantConfig, wantRules string
		missing               bool
	}{
		{name: "nothing named and nothing there: the built-in defaults"},
		{name: "nothing named: the system's configuration and the rules beside it", hasSystem: true,
			wantConfig: system, wantRules: filepath.Join(dir, "etc", "rules.toml")},
		{name: "a named configuration, and the rules beside it, there or not", config: mine,
			wantConfig: mine, wantRules: filepath.Join(dir, "mine", "rules.toml")},
		{name: "a named configuration beats the system's", hasSystem: true, config: mine, rules: rulesFile,
			wantConfig: mine, wantRules: rulesFile},
		{name: "named rules go with the system's configuration", hasSystem: true, rules: rulesFile,
			wantConfig: system, wantRules: rulesFile},
		{name: "named rules without any configuration", rules: rulesFile, wantRules: rulesFile},
		{name: "a named configuration that is not there is an error", config: missing, missing: true},
		{name: "named rules that are not there are an error", config: mine, rules: missing, missing: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			os.Remove(system)
			if c.hasSystem {
				write(t, system, "")
			}
			f, err := locate(c.config, c.rules, system)
			if c.missing {
				require.ErrorIs(t, err, fs.ErrNotExist)
				return
			}
			require.NoError(t, err)
			require.Equal(t, Files{Config: c.wantConfig, Rules: c.wantRules}, f)
		})
	}
}

func TestWithoutAConfigurationTheStateIsInAFolderOfTheUsersOwn(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", "/home/somebody/.config")
	c, problems, err := Files{}.ReadConfig()
	require.NoError(t, err)
	require.Empty(t, problems)
	require.Equal(t, "/home/somebody/.config/gatehouse", c.State.Dir)
	require.True(t, c.Listen.Admin.Loopback() && c.Listen.Proxy[0].Loopback() && c.Listen.DNS[0].Loopback())
}

func TestAUserWithoutAHomeUsesTheSystemsFolder(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", "")
	for _, home := range []string{"", "/"} {
		t.Setenv("HOME", home)
		c, _, err := Files{}.ReadConfig()
		require.NoError(t, err)
		require.Equal(t, "/var/lib/gatehouse", c.State.Dir, "HOME=%q", home)
	}
}

func TestLastGoodIsWholeOrNotThere(t *testing.T) {
	l := lastGood(filepath.Join(t.TempDir(), "state", "last-good"))
	_, _, err := l.load()
	require.ErrorIs(t, err, fs.ErrNotExist, "nothing kept yet")

	require.NoError(t, l.keep([]byte("first")))
	require.NoError(t, l.keep([]byte("second")))
	text, kept, err := l.load()
	require.NoError(t, err)
	require.Equal(t, "second", string(text))
	require.WithinDuration(t, time.Now(), kept, time.Minute)
	entries, err := os.ReadDir(string(l))
	require.NoError(t, err)
	require.Len(t, entries, 1, "one file is kept")
	require.Equal(t, digest([]byte("second"))+lastGoodExt, entries[0].Name(), "by the name of its SHA-256")

	require.NoError(t, os.WriteFile(filepath.Join(string(l), entries[0].Name()), []byte("seco"), 0o600))
	_, _, err = l.load()
	require.ErrorIs(t, err, fs.ErrNotExist, "a file that is not what its name says is none")
	require.NoError(t, l.keep([]byte("second")))
	text, _, err = l.load()
	require.NoError(t, err, "and is written again")
	require.Equal(t, "second", string(text))
}

// A start with the rules of before waits for no disk: they are dated anew.
func TestWhatIsKeptAlreadyIsNotWrittenAgain(t *testing.T) {
	l := lastGood(filepath.Join(t.TempDir(), "last-good"))
	require.NoError(t, l.keep([]byte("rules")))
	path := filepath.Join(string(l), digest([]byte("rules"))+lastGoodExt)
	long := time.Now().Add(-24 * time.Hour)
	require.NoError(t, os.Chtimes(path, long, long))
	before, err := os.Stat(path)
	require.NoError(t, err)
	require.NoError(t, l.keep([]byte("rules")))
	after, err := os.Stat(path)
	require.NoError(t, err)
	require.True(t, os.SameFile(before, after), "the file was replaced")
	require.WithinDuration(t, time.Now(), after.ModTime(), time.Minute)
}
