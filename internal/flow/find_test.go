package flow

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestADecisionIsFoundInThePieceThatHoldsIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "decisions.log")
	put := func(name string, list ...*Record) {
		var text []byte
		for _, r := range list {
			text = JSON(text, r)
		}
		require.NoError(t, os.WriteFile(name, text, 0o600))
	}
	open := request()
	open.Open = true
	repeats := question()
	repeats.Repeats = 9
	put(path+"-20260304T000000Z", refusal(), open)
	put(path+"-20260305T000000Z", request(), question(), repeats)

	for _, want := range []*Record{request(), refusal(), question()} {
		r, err := Find(t.Context(), path, want.ID)
		require.NoError(t, err, "that the present piece has not been begun is no trouble")
		require.Equal(t, string(JSON(nil, want)), string(JSON(nil, r)))
	}
	r, err := Find(t.Context(), path, "GH-ZZZZZZZZ")
	require.NoError(t, err)
	require.Nil(t, r)
	r, err = Find(t.Context(), path, strings.Repeat(`"`, 8))
	require.NoError(t, err)
	require.Nil(t, r)

	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Find(gone, path, "GH-ZZZZZZZZ")
	require.ErrorIs(t, err, context.Canceled)
}
