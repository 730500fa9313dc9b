//go:build linux

package appliance

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMemoryIsGivenBackWhenABurstIsOver(t *testing.T) {
	var allocated uint64
	given := 0
	economy := &thrift{allocated: func() uint64 { return allocated }, giveBack: func() { given++; allocated += 100 }}
	look := func(more uint64) int {
		allocated += more
		economy.look()
		return given
	}
	require.Equal(t, 0, look(calm), "nothing much has happened since the start")
	require.Equal(t, 0, look(100<<20), "the burst goes on")
	require.Equal(t, 0, look(calm+1), "and on")
	require.Equal(t, 1, look(calm), "it is over")
	for range (worthIt - 1) / calm {
		require.Equal(t, 1, look(calm), "what trickles is not worth a collection each time")
	}
	require.Equal(t, 2, look(calm), "but adds up")
}

func TestAllocationsAreCounted(t *testing.T) {
	economy := newThrift()
	before := economy.allocated()
	kept := make([]byte, 1<<20)
	require.GreaterOrEqual(t, economy.allocated(), before+uint64(len(kept)))
}
