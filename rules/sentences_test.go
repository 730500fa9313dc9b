package rules

import (
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/require"
)

// TestSentences holds the code to what the language says of files. What it says
// of decisions is held to in package policy.
func TestSentences(t *testing.T) {
	archive, err := txtar.ParseFile("testdata/sentences.txtar")
	require.NoError(t, err)
	for _, file := range archive.Files {
		t.Run(file.Name, func(t *testing.T) {
			first, _, _ := strings.Cut(string(file.Data), "\n")
			want := strings.Fields(strings.TrimPrefix(first, "# "))
			loaded, problems := Load("rules.toml", file.Data, testEnv(t))
			got := []string{"refused"}
			if loaded != nil {
				got[0] = "loads"
			}
			for _, p := range problems {
				got = append(got, p.Code)
			}
			slices.Sort(got[1:])
			require.Equal(t, want, got, "%v", problems)
		})
	}
}
