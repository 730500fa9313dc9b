package main

import (
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/appliance"
	"gatehouse/internal/servicetags"
	"gatehouse/rules"
)

// offLine is a line of a starter that says something once its "#" is taken away.
var offLine = regexp.MustCompile(`(?m)^# (\[\[?[a-z.]+\]\]?$|[a-z_]+ *= )`)

func TestWhatTheStartersOfferMayBeSwitchedOn(t *testing.T) {
	text, err := starter.ReadFile("starter/gatehouse.toml")
	require.NoError(t, err)
	on := offLine.ReplaceAll(text, []byte("$1"))
	require.NotEqual(t, string(text), string(on))
	config, problems := appliance.ParseConfig("/etc/gatehouse/gatehouse.toml", on)
	require.Empty(t, problems, "%s", on)
	require.Equal(t, "Europe/London", config.Timezone.String())
	want := appliance.DefaultConfig()
	require.Equal(t, want.Listen.Proxy, config.Listen.Proxy)
	require.Equal(t, want.Log, config.Log)
	require.Equal(t, want.State, config.State)

	text, err = starter.ReadFile("starter/rules.toml")
	require.NoError(t, err)
	on = offLine.ReplaceAll(text, []byte("$1"))
	env := rules.Env{Now: time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC), Tags: servicetags.Builtin()}
	loaded, problems := rules.Load("rules.toml", on, env)
	require.NotNil(t, loaded, "%v", problems)
	require.Equal(t, len(rules.Packs())-1, len(loaded.Packs), "every pack but service-bus, which emerge-server holds")
}

func TestTheStartersStandInNormalForm(t *testing.T) {
	for _, name := range []string{"gatehouse.toml", "rules.toml"} {
		text, err := starter.ReadFile("starter/" + name)
		require.NoError(t, err)
		formatted, problems := rules.Format(name, text, true)
		require.Empty(t, problems)
		require.Equal(t, string(text), string(formatted))
	}
}
