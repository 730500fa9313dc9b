package rules

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Files of testdata/ten have more than ten mistakes each: all are told in one
// run, each at its own place, from the top to the bottom.
func TestTenMistakesInOneFileAreAllToldInOneRun(t *testing.T) {
	files, err := filepath.Glob("testdata/ten/*.toml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".toml"), func(t *testing.T) {
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			loaded, problems := Load("rules.toml", text, testEnv(t))
			require.Nil(t, loaded)
			var got strings.Builder
			require.NoError(t, Render(&got, problems))
			golden := strings.TrimSuffix(path, ".toml") + ".golden"
			if *update {
				require.NoError(t, os.WriteFile(golden, []byte(got.String()), 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), got.String())
			require.GreaterOrEqual(t, len(problems), 10)
			eachAtItsOwnPlace(t, problems)
		})
	}
}

func eachAtItsOwnPlace(t *testing.T, problems []Problem) {
	type place struct{ line, column int }
	seen, last := map[place]bool{}, place{}
	for _, p := range problems {
		at := place{p.Line, p.Column}
		require.Positive(t, p.Column, p.Message)
		require.False(t, seen[at], "two problems at one place: %s", p)
		require.True(t, at.line > last.line || at.line == last.line && at.column > last.column)
		seen[at], last = true, at
	}
}
