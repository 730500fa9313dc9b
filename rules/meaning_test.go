package rules

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/policy"
)

// only loads a file and gives its one rule.
func only(t *testing.T, env Env, text string) *policy.Rule {
	loaded, problems := Load("rules.toml", []byte(text), env)
	require.NotNil(t, loaded, "%v", problems)
	require.Len(t, loaded.Policy.Rules(), 1)
	return loaded.Policy.Rules()[0]
}

func TestDefaultsOfAnAllowAreWrittenOut(t *testing.T) {
	r := only(t, testEnv(t), "version = 1\n\n[[allow]]\nname = \"site\"\nhosts = \"www.example.org\"\n")
	require.Equal(t, 3, r.Line)
	require.True(t, r.Clients.Any)
	require.Equal(t, []policy.PortRange{{First: 443, Last: 443}}, r.Ports)
	require.Equal(t, policy.Addresses{Default: true}, r.Addresses)
	require.Nil(t, r.Upgrades)
	require.Nil(t, r.Aliases)
	require.Nil(t, r.Methods)
	require.True(t, r.Until.IsZero())
}

func TestADenyRestrictsNothingItDoesNotName(t *testing.T) {
	loaded, problems := Load("rules.toml", []byte("version = 1\n[[allow]]\nname = \"a\"\nhosts = [\"*.cdn.example.org\"]\n[[deny]]\nname = \"d\"\nhosts = [\"x.cdn.example.org\"]\n"), testEnv(t))
	require.NotNil(t, loaded, "%v", problems)
	d := loaded.Policy.Rules()[1]
	require.True(t, d.Deny)
	require.Empty(t, d.Ports)
	require.Equal(t, policy.Addresses{}, d.Addresses)
	require.True(t, d.Clients.Any)
}

func TestWhatNotepadAndTiredEyesDoIsAccepted(t *testing.T) {
	text := "\ufeffversion = 1\r\n[[client]]\r\nname = \"lab\"\r\nfrom = \"10.20.0.5\"\r\n[[allow]]\r\nname = \"site\"\r\nclients = \"lab\"\r\nhosts = \"WWW.Example.ORG.\"\r\nports = \"8443-8444\"\r\nprotocol = \"tls\"\r\nmethods = \"GET\"\r\ntypes = \"text/plain\"\r\naddresses = \"Public\"\r\nuntil = \"2031-01-31\"\r\n"
	r := only(t, testEnv(t), text)
	require.Equal(t, 5, r.Line)
	require.Equal(t, "www.example.org", r.Hosts[0].String())
	require.Equal(t, []policy.PortRange{{First: 8443, Last: 8444}}, r.Ports)
	require.Equal(t, []string{"GET"}, r.Methods)
	require.True(t, r.Addresses.Public)
	require.Equal(t, time.Date(2031, 2, 1, 0, 0, 0, 0, time.UTC), r.Until)
}

func TestTheLastDayEndsAtMidnightOfTheZone(t *testing.T) {
	env := testEnv(t)
	env.Zone = time.FixedZone("school", 2*3600)
	for written, want := range map[string]time.Time{
		"2031-01-31":               time.Date(2031, 2, 1, 0, 0, 0, 0, env.Zone),
		"\"2031-01-31\"":           time.Date(2031, 2, 1, 0, 0, 0, 0, env.Zone),
		"2031-01-31T12:00:00":      time.Date(2031, 1, 31, 12, 0, 0, 0, env.Zone),
		"2031-01-31 12:00":         time.Date(2031, 1, 31, 12, 0, 0, 0, env.Zone),
		"2031-01-31T12:00:00Z":     time.Date(2031, 1, 31, 12, 0, 0, 0, time.UTC),
		"\"2031-01-31T12:00:00Z\"": time.Date(2031, 1, 31, 12, 0, 0, 0, time.UTC),
		"\"2031-01-31 12:00:00\"":  time.Date(2031, 1, 31, 12, 0, 0, 0, env.Zone),
	} {
		r := only(t, env, "version = 1\n[[allow]]\nname = \"a\"\nhosts = [\"www.example.org\"]\nuntil = "+written+"\n")
		require.True(t, want.Equal(r.Until), "%s: %s", written, r.Until)
	}
}

func TestADateBeforeThereWereRulesIsNoDate(t *testing.T) {
	// A rule until the zero time would hold for ever.
	for _, written := range []string{"0000-12-31", "0001-01-01", "0001-01-01T00:00:00Z"} {
		loaded, _ := Load("rules.toml", []byte("version = 1\n[[allow]]\nname = \"a\"\nhosts = [\"www.example.org\"]\nuntil = "+written+"\n"), testEnv(t))
		require.Nil(t, loaded, written)
	}
}

func TestAPastedURLGivesThePortOfItsHost(t *testing.T) {
	r := only(t, testEnv(t), "version = 1\n[[allow]]\nname = \"a\"\nhosts = [\"http://a.example.org/\", \"https://b.example.org:8443/\", \"c.example.org\"]\n")
	require.Equal(t, []uint16{80, 8443, 0}, []uint16{r.Hosts[0].Port, r.Hosts[1].Port, r.Hosts[2].Port})
}

func TestAddressWords(t *testing.T) {
	r := only(t, testEnv(t), "version = 1\n[[allow]]\nname = \"a\"\nhosts = [\"a.example.org\"]\naddresses = [\"private\", \"northeurope\", \"azure:servicebus.northeurope\", \"192.0.2.7\"]\n")
	require.Len(t, r.Addresses.Tags, 2)
	require.Equal(t, "AzureCloud.northeurope", r.Addresses.Tags[0].Name)
	require.NotEmpty(t, r.Addresses.Tags[1].Prefixes)
	require.Len(t, r.Addresses.Prefixes, 5)
	require.False(t, r.Addresses.Default)
}

func TestEmptyListsThatMeanNone(t *testing.T) {
	r := only(t, testEnv(t), "version = 1\n[[allow]]\nname = \"a\"\nhosts = [\"a.example.org\"]\nupgrades = []\naliases = []\n")
	require.NotNil(t, r.Upgrades)
	require.NotNil(t, r.Aliases)
	require.Empty(t, r.Upgrades)
	require.Empty(t, r.Aliases)
}

func TestAPackIsItsRulesAtTheLineOfItsTable(t *testing.T) {
	loaded, problems := Load("rules.toml", []byte("version = 1\n\n[[pack]]\nname = \"emerge-server\"\nwithout = [\"updates\"]\n"), testEnv(t))
	require.NotNil(t, loaded, "%v", problems)
	for _, r := range loaded.Policy.Rules() {
		require.True(t, strings.HasPrefix(r.Name, "emerge-server/"))
		require.Equal(t, "emerge-server", r.Pack)
		require.Equal(t, 3, r.Line)
		require.NotEqual(t, "emerge-server/updates", r.Name)
		require.NotEmpty(t, r.Because)
	}
	require.ElementsMatch(t, []string{"AzureCloud.northeurope", "ServiceBus"}, loaded.Tags)
}

func TestUnenforcedClausesAreListedWithTheirReason(t *testing.T) {
	text := []byte("version = 1\n[[pack]]\nname = \"heartbeat\"\n[[allow]]\nname = \"quiet\"\nhosts = [\"a.example.org\"]\ninspect = \"never\"\n[[allow]]\nname = \"loud\"\nhosts = [\"a.example.org\"]\nmethods = [\"GET\"]\n[[allow]]\nname = \"plain\"\nhosts = [\"b.example.org\"]\nports = [80]\nmethods = [\"GET\"]\n")
	env := testEnv(t)
	loaded, _ := Load("rules.toml", text, env)
	require.Equal(t, []string{"heartbeat/health methods", "heartbeat/health types", "heartbeat/health uploads", "loud methods"}, listed(loaded.Unenforced))
	env.Inspection = true
	loaded, _ = Load("rules.toml", text, env)
	require.Equal(t, []Unenforced{{Rule: "loud", Line: 8, Clause: "methods", Why: `inspect is "never" in rule "quiet" (line 4)`}}, loaded.Unenforced)
}

func listed(all []Unenforced) []string {
	var out []string
	for _, u := range all {
		out = append(out, u.Rule+" "+u.Clause)
	}
	return out
}

func TestEveryBuiltInPackLoadsWithoutAWord(t *testing.T) {
	env := testEnv(t)
	env.Inspection = true
	for _, p := range Packs() {
		loaded, problems := Load(p.Name+".toml", p.Text, env)
		for _, problem := range problems { // wildcards stand as the stores' makers and Microsoft write them
			require.Contains(t, []string{"GH107", "GH108"}, problem.Code, "%s", problem)
			require.Contains(t, []string{"app-stores", "windows-update"}, p.Name)
		}
		require.NotNil(t, loaded)
		require.NotEmpty(t, p.Summary)
	}
}

func TestClientsOfAPublishMayAsk(t *testing.T) {
	loaded, problems := Load("rules.toml", []byte("version = 1\n[[publish]]\nname = \"p\"\nclients = [\"10.9.0.0/16\"]\nlisten = \"10.20.0.1:80\"\nto = \"http://10.20.0.5\"\n"), testEnv(t))
	require.NotNil(t, loaded, "%v", problems)
	require.Equal(t, policy.HostNotListed, ask(t, loaded, "10.9.1.1", "CONNECT www.example.org:443").Reason)
	require.Equal(t, policy.ClientNotListed, ask(t, loaded, "10.8.1.1", "CONNECT www.example.org:443").Reason)
}

func TestAFileThatNestsWithoutEndIsRefusedAndEndsNothing(t *testing.T) {
	loaded, problems := Load("rules.toml", []byte("a = "+strings.Repeat("[", 3<<20)), testEnv(t))
	require.Nil(t, loaded)
	require.Equal(t, "GH001", problems[0].Code)
	require.Contains(t, problems[0].Message, "nested deeper")
}
