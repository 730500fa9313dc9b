package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhatIsNoFileAmongThePiecesOfALogIsPassedOver(t *testing.T) {
	dir := t.TempDir()
	piece := func(day string) string { return filepath.Join(dir, "d.log-202603"+day+"T000000Z") }
	require.NoError(t, os.WriteFile(piece("01"), []byte("1\n"), 0o600))
	require.NoError(t, syscall.Mkfifo(piece("02"), 0o600))
	require.NoError(t, os.Symlink("/dev/zero", piece("03")))
	require.NoError(t, os.Mkdir(piece("04"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "d.log"), []byte("2\n"), 0o600))
	got, err := reading(t, dir, func(int) {}, "d.log")
	require.NoError(t, err)
	require.Equal(t, "1 2 ", got)
}

// As gatehouse replay <(zcat old.log.gz) has it.
func TestALogThatIsNamedMayBeAPipe(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "d.log")
	require.NoError(t, syscall.Mkfifo(path, 0o600))
	in, err := os.OpenFile(path, os.O_RDWR, 0) // does not wait for a reader
	require.NoError(t, err)
	_, err = in.WriteString("1\n")
	require.NoError(t, err)
	got, err := reading(t, dir, func(int) { require.NoError(t, in.Close()) }, "d.log") // it is open by then
	require.NoError(t, err)
	require.Equal(t, "1 ", got)
}
