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

func BenchmarkFindAmong100000Lines(b *testing.B) {
	path := logOf(b, 100_000, 200_000)
	for name, id := range map[string]string{"oldest": "GH-00000000", "newest": "GH-00099999", "none": "GH-ZZZZZZZZ"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if r, err := Find(b.Context(), path, id); err != nil || (r == nil) != (name == "none") {
					b.Fatal(r, err)
				}
			}
		})
	}
}
