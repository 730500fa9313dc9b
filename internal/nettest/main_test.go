package nettest

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAGoroutineThatIsLeftIsFoundAndOneThatEndsIsWaitedFor(t *testing.T) {
	release := make(chan struct{})
	go func() { <-release }()
	require.ErrorContains(t, leaked(0), "found unexpected goroutines")
	close(release)
	require.NoError(t, leaked(Patience))
}
