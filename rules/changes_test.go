package rules

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestChangesTellWhatOpensFirst(t *testing.T) {
	env := testEnv(t)
	load := func(text string) *Loaded {
		loaded, problems := Load("rules.toml", []byte("version = 1\n"+text), env)
		require.NotNil(t, loaded, "%v", problems)
		return loaded
	}
	old := load(`[[allow]]
name = "kept"
hosts = ["a.example.org", "b.example.org"]
[[allow]]
name = "gone"
hosts = ["c.example.org"]
[[deny]]
name = "lifted"
hosts = ["a.example.org"]
ports = [444]
[[deny]]
name = "narrowed"
hosts = ["a.example.org", "b.example.org"]
ports = [445]
`)
	new := load(`mode = "monitor"
[[allow]]
name = "kept"
hosts = ["a.example.org", "d.example.org"]
methods = ["GET"]
until = 2031-01-31
[[allow]]
name = "added"
hosts = ["e.example.org"]
[[deny]]
name = "narrowed"
hosts = ["a.example.org"]
ports = [445]
`)
	require.Equal(t, []string{
		"mode: monitor, was enforce",
		"deny lifted goes away: what it refused is open to the allows",
		"deny narrowed changes: hosts -b.example.org",
		"allow gone goes away",
		"allow kept changes: hosts +d.example.org -b.example.org; methods +GET; until +2031-02-01T00:00:00Z",
		"allow added is new",
	}, Changes(old, new))
	require.Empty(t, Changes(old, old))
	require.Equal(t, "mode: enforce, was nothing in force", Changes(nil, old)[0])
}

func TestAnImportOfServiceTagsShowsInTheChanges(t *testing.T) {
	env := testEnv(t)
	text := []byte("version = 1\n[[pack]]\nname = \"service-bus\"\n")
	before, _ := Load("rules.toml", text, env)
	env.Tags.(tags)["ServiceBus"] = env.Tags.(tags)["ServiceBus"][:3]
	after, _ := Load("rules.toml", text, env)
	require.Equal(t, []string{"allow service-bus/service-bus-watchdog changes: addresses +azure:ServiceBus (3 prefixes) -azure:ServiceBus (4 prefixes)"}, Changes(before, after))
}
