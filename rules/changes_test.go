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
		"deny narrowed is narrowed: hosts -b.example.org",
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
	require.Equal(t, []string{"allow service-bus/service-bus-watchdog is narrowed: addresses +azure:ServiceBus (3 prefixes) -azure:ServiceBus (4 prefixes)"}, Changes(before, after))
}

func TestAChangedRuleIsWidenedNarrowedOrBoth(t *testing.T) {
	env := testEnv(t)
	load := func(deny bool, clauses string) *Loaded {
		table := "[[allow]]"
		if deny {
			table = "[[deny]]"
		}
		text := "version = 1\n[[client]]\nname = \"lab\"\nfrom = [\"10.20.0.0/16\"]\n[[allow]]\nname = \"all\"\nhosts = [\"*.example.org\"]\n" + table + "\nname = \"r\"\n" + clauses
		loaded, problems := Load("rules.toml", []byte(text), env)
		require.NotNil(t, loaded, "%v", problems)
		return loaded
	}
	const host = `hosts = ["a.example.org"]`
	for _, c := range []struct {
		name, was, is, says string
		deny                bool
	}{
		{name: "a host more", was: host, is: `hosts = ["a.example.org", "b.example.org"]`, says: "allow r is widened: hosts +b.example.org"},
		{name: "a wildcard over the host", was: host, is: `hosts = ["*.example.org"]`, says: "allow r is widened: hosts +*.example.org -a.example.org"},
		{name: "one host for another", was: host, is: `hosts = ["b.example.org"]`, says: "allow r changes: hosts +b.example.org -a.example.org"},
		{name: "a range over the port", was: host + "\nports = 8443", is: host + "\nports = \"8000-9000\"", says: "allow r is widened: ports +8000-9000 -8443"},
		{name: "a method less", was: host + "\nmethods = [\"GET\", \"POST\"]", is: host + "\nmethods = [\"GET\"]", says: "allow r is narrowed: methods -POST"},
		{name: "methods where there were none", was: host, is: host + "\nmethods = [\"GET\"]", says: "allow r is narrowed: methods +GET"},
		{name: "a client where there were all", was: host, is: host + "\nclients = [\"lab\"]", says: "allow r is narrowed: clients +10.20.0.0/16 -any"},
		{name: "a machine of the network", was: host + "\nclients = [\"lab\"]", is: host + "\nclients = [\"10.20.0.5\"]", says: "allow r is narrowed: clients +10.20.0.5/32 -10.20.0.0/16"},
		{name: "a later day", was: host + "\nuntil = 2030-01-01", is: host + "\nuntil = 2031-01-01", says: "allow r is widened: until +2031-01-02T00:00:00Z -2030-01-02T00:00:00Z"},
		{name: "no day any more", was: host + "\nuntil = 2030-01-01", is: host, says: "allow r is widened: until -2030-01-02T00:00:00Z"},
		{name: "private addresses too", was: host, is: host + "\naddresses = [\"public\", \"10.9.0.0/16\"]", says: "allow r is widened: addresses +10.9.0.0/16"},
		{name: "a type more in a plain list", was: host + "\ntypes = [\"a/b\"]", is: host + "\ntypes = [\"a/b\", \"a/c\"]", says: "allow r is widened: types +* = a/b, a/c -* = a/b"},
		{name: "a pattern more, which binds", was: host + "\ntypes = { \"*\" = \"any\" }", is: host + "\ntypes = { \"*\" = \"any\", \"*.inf\" = \"a/b\" }", says: "allow r changes: types +*.inf = a/b"},
		{name: "a host more and a method less", was: host, is: `hosts = ["a.example.org", "b.example.org"]` + "\nmethods = [\"GET\"]", says: "allow r changes: hosts +b.example.org; methods +GET"},
		{name: "a deny of one port more", deny: true, was: host + "\nports = 22", is: host + "\nports = [22, 23]", says: "deny r is widened: ports +23"},
		{name: "a deny of every port", deny: true, was: host + "\nports = 22", is: host, says: "deny r is widened: ports -22"},
		{name: "a deny of one port only", deny: true, was: host, is: host + "\nports = 22", says: "deny r is narrowed: ports +22"},
		{name: "a deny with an end", deny: true, was: host, is: host + "\nuntil = 2031-01-01", says: "deny r is narrowed: until +2031-01-02T00:00:00Z"},
		{name: "a deny of some addresses only", deny: true, was: host, is: host + "\naddresses = [\"10.9.0.0/16\"]", says: "deny r is narrowed: addresses +10.9.0.0/16"},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, []string{c.says}, Changes(load(c.deny, c.was), load(c.deny, c.is)))
		})
	}
}
