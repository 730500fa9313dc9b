package dnsallow

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTheDocumentedBoundsAreTheBounds holds docs/dns.md to the code.
func TestTheDocumentedBoundsAreTheBounds(t *testing.T) {
	text, err := os.ReadFile("../docs/dns.md")
	require.NoError(t, err)
	s := NewServer(ServerConfig{}, ServerDeps{})
	c := s.config
	require.Equal(t, []int{1000, 1024, 512, 256}, []int{c.PerClient, c.Concurrent, c.PerNetwork, c.Connections})
	for _, says := range []string{
		"| 1,000 a second, 2,000 at once;", "| 1,024, half of them from one network (/24 or /56) |",
		fmt.Sprintf("| %d a minute |", defaultNewNames), fmt.Sprintf("| %d a second | silence", strangerRefusals),
		fmt.Sprintf("| 256, half of them from one network and %d from one client, %.0f seconds without a question; %d for strangers, for %.0f seconds |",
			s.lines.alone, c.Idle.Seconds(), strangerConnections, strangerIdle.Seconds()),
		fmt.Sprintf("one that did not answer rests for ten seconds. When an answer takes %d ms", defaultHedge.Milliseconds()),
		fmt.Sprintf("%.0f seconds at most, with all aliases that have to be asked for, %.1f where something older", defaultTotal.Seconds(), staleWait.Seconds()),
	} {
		require.Contains(t, string(text), says)
	}
}
