package policy

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// whole is Levenshtein's distance, from the whole table.
func whole(a, b string) int {
	table := make([][]int, len(a)+1)
	for i := range table {
		table[i] = make([]int, len(b)+1)
		for j := range table[i] {
			switch {
			case i == 0 || j == 0:
				table[i][j] = i + j
			case a[i-1] == b[j-1]:
				table[i][j] = table[i-1][j-1]
			default:
				table[i][j] = 1 + min(table[i-1][j], table[i][j-1], table[i-1][j-1])
			}
		}
	}
	return table[len(a)][len(b)]
}

func TestTheDistanceOfTwoNamesIsThatOfTheWholeTable(t *testing.T) {
	name := rapid.StringMatching(`[ab.]{0,9}`)
	rapid.Check(t, func(t *rapid.T) {
		a, b, limit := name.Draw(t, "a"), name.Draw(t, "b"), rapid.IntRange(1, 4).Draw(t, "limit")
		require.Equal(t, min(whole(a, b), limit), editDistance(a, b, limit), "%q %q", a, b)
	})
	require.Equal(t, 3, editDistance("a", strings.Repeat("a", 400), 3))
}
