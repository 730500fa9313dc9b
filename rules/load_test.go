package rules

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/servicetags"
	"gatehouse/policy"
)

// tags is a small stand-in for a service-tag file; testdata/tags.json says
// where its prefixes come from.
type tags map[string][]netip.Prefix

func (t tags) Prefixes(tag string) ([]netip.Prefix, bool) {
	for name, list := range t {
		if strings.EqualFold(name, tag) {
			return list, true
		}
	}
	return nil, false
}

func (t tags) Names() []string {
	var names []string
	for name := range t {
		names = append(names, name)
	}
	return names
}

func testTags(t testing.TB) tags {
	text, err := os.ReadFile("testdata/tags.json")
	require.NoError(t, err)
	var file struct {
		Tags map[string][]netip.Prefix `json:"tags"`
	}
	require.NoError(t, json.Unmarshal(text, &file))
	return file.Tags
}

var testNow = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func testEnv(t testing.TB) Env {
	return Env{Now: testNow, Zone: time.UTC, Tags: testTags(t), ReadFile: func(path string) ([]byte, error) {
		if filepath.Base(path) == "staff.htpasswd" { // as the documentation calls it; the password is sesame
			return []byte("ann:$2y$04$Q2a7fwo5Haz1izNKrtBnre4LUsTpzVvkSWpjDVqEqkqf5VdEpX3ma\n"), nil
		}
		return readLogins(path)
	}}
}

func TestTheDefaultRulesLoad(t *testing.T) {
	loaded, problems := Load("default.toml", Default(), testEnv(t))
	require.NotNil(t, loaded, "%v", problems)
	require.False(t, HasErrors(problems), "%v", problems)
	require.Equal(t, []string{"emerge-server", "emerge-client", "xporter", "heartbeat"}, loaded.Packs)
	require.Equal(t, 15, loaded.RuleCount)
}

func TestTheDefaultRulesLoadWithTheBuiltInServiceTags(t *testing.T) {
	env := testEnv(t)
	env.Tags = servicetags.Builtin()
	loaded, problems := Load("default.toml", Default(), env)
	require.NotNil(t, loaded, "%v", problems)
	for target, reason := range map[string]policy.Reason{
		"DNS emergeen.servicebus.windows.net = 13.74.107.71":  policy.Matched,
		"DNS emergeen.servicebus.windows.net = 13.69.64.65":   policy.AddressNotAllowed,
		"DNS emergeen.servicebus.windows.net = 40.78.212.1":   policy.AddressNotAllowed,
		"DNS watchdog.servicebus.windows.net = 70.37.104.240": policy.Matched,
	} {
		require.Equal(t, reason.String(), ask(t, loaded, "127.0.0.1", target).Reason.String(), target)
	}
}

func TestABrokenListOfAHundredThousandRulesIsToldInBounds(t *testing.T) {
	loaded, problems := Load("rules.toml", []byte("version = 1\n"+strings.Repeat("[[allow]]\n", 20000)), testEnv(t))
	require.Nil(t, loaded)
	require.Len(t, problems, 1000)
	require.True(t, HasErrors(problems))
}
