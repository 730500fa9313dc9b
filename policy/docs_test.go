package policy_test

import (
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/policy"
)

// TestEveryReasonIsDocumented holds docs/reasons.md to the code, both ways.
func TestEveryReasonIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/reasons.md")
	require.NoError(t, err)
	documented := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| [^|]*\\| [^|]+\\| [^|]+\\|$").FindAllSubmatch(text, -1) {
		documented[string(m[1])] = true
	}
	known := map[string]bool{}
	for _, r := range policy.Reasons() {
		known[r.String()] = true
	}
	require.Equal(t, known, documented)
}
