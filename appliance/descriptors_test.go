package appliance

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheGateTakesNoMoreConnectionsThanItHasDescriptorsFor(t *testing.T) {
	for _, test := range []struct {
		connections int
		descriptors uint64
		want        int
	}{
		{20000, 65536, 20000}, // as in the unit
		{20000, math.MaxUint64, 20000},
		{9500, 20000, 9500},
		{20000, 20000, (20000 - descriptorsSpare) / 2},
		{20000, 1024, 384},
		{100, 1024, 100},
		{20000, 4, 1},
		{20000, 0, 1},
	} {
		require.Equal(t, test.want, affordable(test.connections, test.descriptors), "%d connections, %d descriptors", test.connections, test.descriptors)
	}
}
