package rules

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func FuzzLoadTellsOrLoadsAndNeverBoth(f *testing.F) {
	files, err := filepath.Glob("testdata/bad/*.toml")
	require.NoError(f, err)
	for _, path := range files {
		text, err := os.ReadFile(path)
		require.NoError(f, err)
		f.Add(text)
	}
	for _, p := range Packs() {
		f.Add(p.Text)
	}
	known := map[string]Level{}
	for _, c := range Codes() {
		known[c.ID] = c.Level
	}
	env := testEnv(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		loaded, problems := Load("rules.toml", text, env)
		require.Equal(t, loaded == nil, HasErrors(problems))
		for i, p := range problems {
			require.Equal(t, known[p.Code], p.Level)
			require.NotEqual(t, codeUnmade.ID, p.Code, "a rule that cannot be compiled must be told of before: %s", p)
			require.NotEmpty(t, p.String())
			if i > 0 {
				require.GreaterOrEqual(t, p.Line, problems[i-1].Line)
			}
		}
	})
}
