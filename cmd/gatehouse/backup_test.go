//go:build linux

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestABackupIsItsOwnersAloneAlsoInThePlaceOfAnother(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.zip")
	require.NoError(t, os.WriteFile(path, []byte("old"), 0o644))
	old, err := os.Open(path)
	require.NoError(t, err)
	defer old.Close()
	require.NoError(t, writePrivate(path, []byte("new")))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	before, err := old.Stat()
	require.NoError(t, err)
	require.False(t, os.SameFile(before, info), "whoever has the old file open reads nothing of the new")
	require.NoError(t, writePrivate(os.DevNull, []byte("new")))
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1)
}
