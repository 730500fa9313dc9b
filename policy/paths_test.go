package policy

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNoTrickWithAPathChangesWhichRuleApplies asks the vectors that package
// proxy asks over the wire.
func TestNoTrickWithAPathChangesWhichRuleApplies(t *testing.T) {
	text, err := os.ReadFile("testdata/paths.tsv")
	require.NoError(t, err)
	glob, err := ParseGlob("/pub/*")
	require.NoError(t, err)
	asked := 0
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		field := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		require.Len(t, field, 3, line)
		reason := Matched
		switch path := NewPath(field[1]); {
		case path.Odd() != "":
			reason = BadRequest
		case !glob.Match(path):
			reason = PathNotListed
		}
		require.Equal(t, field[0], reason.String(), "%s: %s", field[2], field[1])
		asked++
	}
	require.Greater(t, asked, 50)
}
