package rules

import (
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/require"
)

// testdata/syntax.txtar holds broken files, each with what is said of it.
func TestBrokenFilesAreToldInWords(t *testing.T) { told(t, "testdata/syntax.txtar") }

// testdata/mistakes.txtar holds files of people who come from other programs.
func TestMistakesOfOtherProgramsAreToldWithAFix(t *testing.T) { told(t, "testdata/mistakes.txtar") }

// told holds the files of an archive to what is said of each.
func told(t *testing.T, path string) {
	archive, err := txtar.ParseFile(path)
	require.NoError(t, err)
	for i := 0; i < len(archive.Files); i += 2 {
		file := archive.Files[i]
		t.Run(file.Name, func(t *testing.T) {
			_, problems := Load("rules.toml", file.Data, testEnv(t))
			var got strings.Builder
			for _, p := range problems {
				if p.Why = ""; p.Level == Error {
					got.WriteString(p.String())
				}
				require.NotContains(t, p.Message, `\n`)
			}
			if *update {
				archive.Files[i+1].Data = []byte(got.String())
			}
			require.Equal(t, string(archive.Files[i+1].Data), got.String())
		})
	}
	if *update {
		require.NoError(t, os.WriteFile(path, txtar.Format(archive), 0o644))
	}
}
