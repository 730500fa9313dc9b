//go:build unix

package wholefile

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// What anybody but root makes is in a folder of theirs already, and stays as it is.
func TestANewFileBelongsToWhomItsFolderBelongs(t *testing.T) {
	const gate = 65532
	dir := t.TempDir()
	if os.Geteuid() == 0 {
		require.NoError(t, os.Chown(dir, gate, gate))
	}
	f, err := os.Create(filepath.Join(dir, "a"))
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, Adopt(f))
	inner := filepath.Join(dir, "inner")
	require.NoError(t, os.Mkdir(inner, 0o700))
	d, err := os.Open(inner)
	require.NoError(t, err)
	defer d.Close()
	require.NoError(t, Adopt(d))
	require.Equal(t, owner(t, dir), owner(t, f.Name()))
	require.Equal(t, owner(t, dir), owner(t, inner))
}

func TestAFileInAFolderThatIsGoneIsNotGivenAway(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("root alone gives files away")
	}
	dir := filepath.Join(t.TempDir(), "gone")
	require.NoError(t, os.Mkdir(dir, 0o700))
	f, err := os.Create(filepath.Join(dir, "a"))
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, os.RemoveAll(dir))
	require.ErrorIs(t, Adopt(f), os.ErrNotExist)
}

func owner(t *testing.T, path string) [2]uint32 {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	stat := info.Sys().(*syscall.Stat_t)
	return [2]uint32{stat.Uid, stat.Gid}
}
