package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheVersionThatWasGivenIsTheOneThatIsSaid(t *testing.T) {
	before := version
	t.Cleanup(func() { version = before })
	version = ""
	require.NotEmpty(t, build().Version, "what the toolchain says")
	version = "1.2.3"
	require.Equal(t, "1.2.3", build().Version)
}
