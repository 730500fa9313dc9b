package rules

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// testdata/ten.toml has more than ten mistakes: each is told in one run, at its
// own place, from the top to the bottom.
func TestTenMistakesAreToldInOneRunFromTheTopDown(t *testing.T) {
	text, err := os.ReadFile("testdata/ten.toml")
	require.NoError(t, err)
	loaded, problems := Load("rules.toml", text, testEnv(t))
	require.Nil(t, loaded)
	var got strings.Builder
	require.NoError(t, Render(&got, problems))
	if *update {
		require.NoError(t, os.WriteFile("testdata/ten.golden", []byte(got.String()), 0o644))
	}
	want, err := os.ReadFile("testdata/ten.golden")
	require.NoError(t, err)
	require.Equal(t, string(want), got.String())

	type place struct{ line, column int }
	seen, last := map[place]bool{}, place{}
	for _, p := range problems {
		at := place{p.Line, p.Column}
		require.Positive(t, p.Column, p.Message)
		require.False(t, seen[at], "two problems at one place: %s", p)
		require.True(t, at.line > last.line || at.line == last.line && at.column > last.column)
		seen[at], last = true, at
	}
	require.GreaterOrEqual(t, len(problems), 10)
}
