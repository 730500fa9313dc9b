package rules

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAPasswordFileLiesBesideTheRules(t *testing.T) {
	env, dir := testEnv(t), t.TempDir()
	staff, err := env.ReadFile("staff.htpasswd")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "people"), staff, 0o600))
	env.ReadFile = nil
	text := func(path string) []byte {
		return []byte("version = 1\n[[client]]\nname = \"staff\"\nfrom = [\"10.40.0.0/16\"]\nlogins = \"" + path + "\"\n[[allow]]\nname = \"a\"\nhosts = [\"www.example.org\"]\n")
	}
	for _, path := range []string{"people", filepath.Join(dir, "people")} {
		loaded, problems := Load(filepath.Join(dir, "rules.toml"), text(path), env)
		require.NotNil(t, loaded, "%v", problems)
		list := loaded.Policy.Logins(netip.MustParseAddr("::ffff:10.40.0.7"))
		require.Len(t, list, 1)
		require.True(t, list[0].Check("ann", "sesame", testNow))
		require.Empty(t, loaded.Policy.Logins(netip.MustParseAddr("10.41.0.7")))
	}
	for path, says := range map[string]string{".": "it is a folder", "/dev/zero": "no regular file", "nobody": "no such file"} {
		loaded, problems := Load(filepath.Join(dir, "rules.toml"), text(path), env)
		require.Nil(t, loaded)
		require.Len(t, problems, 1)
		require.Equal(t, "GH048", problems[0].Code)
		require.Contains(t, problems[0].Message, says)
	}
}

func TestAGroupThatNoLongerHasToLogInIsToldFirst(t *testing.T) {
	load := func(logins string) *Loaded {
		loaded, problems := Load("rules.toml", []byte("version = 1\n[[client]]\nname = \"staff\"\nfrom = [\"10.40.0.0/16\"]\n"+logins+"[[allow]]\nname = \"a\"\nhosts = [\"www.example.org\"]\n"), testEnv(t))
		require.NotNil(t, loaded, "%v", problems)
		return loaded
	}
	without, with := load(""), load("logins = \"staff.htpasswd\"\n")
	require.Equal(t, []string{"client staff no longer has to log in"}, Changes(with, without))
	require.Equal(t, []string{"client staff has to log in now"}, Changes(without, with))
	require.Empty(t, Changes(with, with))
}
