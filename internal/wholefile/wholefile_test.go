package wholefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

const mib = 1 << 20

func TestAFileIsReadUpToItsBound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	require.NoError(t, os.WriteFile(path, []byte(strings.Repeat("x", mib)), 0o600))
	text, err := Read(path, mib)
	require.NoError(t, err)
	require.Len(t, text, mib)
	link := path + ".link"
	require.NoError(t, os.Symlink(path, link))
	text, err = Read(link, mib)
	require.NoError(t, err)
	require.Len(t, text, mib)
}

func TestWhatIsNoFileOrTooLargeIsRefusedUnread(t *testing.T) {
	for _, c := range []struct {
		name, says string
		put        func(path string) error
	}{
		{"nothing", "no such file", func(string) error { return nil }},
		{"a pipe that nobody writes to", "it is no regular file", func(path string) error { return syscall.Mkfifo(path, 0o600) }},
		{"a device without end", "it is no regular file", func(path string) error { return os.Symlink("/dev/zero", path) }},
		{"a folder", "it is a folder", func(path string) error { return os.Mkdir(path, 0o700) }},
		{"an octet too many", "it is larger than 1 MiB", func(path string) error {
			return os.WriteFile(path, make([]byte, mib+1), 0o600)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a")
			require.NoError(t, c.put(path))
			text, err := Read(path, mib)
			require.ErrorContains(t, err, c.says)
			require.ErrorContains(t, err, path)
			var where *fs.PathError
			require.ErrorAs(t, err, &where)
			require.Empty(t, text)
		})
	}
}

func TestAFileIsReplacedAsAWhole(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	require.NoError(t, Replace(path, []byte("first"), nil))
	opened, err := os.Open(path)
	require.NoError(t, err)
	defer opened.Close()
	require.NoError(t, Replace(path, []byte("second"), Mode(0o646)))
	holds(t, path, "second", 0o646)
	before := make([]byte, 16)
	n, err := opened.Read(before)
	require.NoError(t, err)
	require.Equal(t, "first", string(before[:n]), "whoever has it open reads on in what it opened")
	require.NoError(t, Replace(path, []byte("third"), nil))
	holds(t, path, "third", 0o600)
	require.Equal(t, []string{"a"}, names(t, dir))
}

func TestWhereTheNewFileIsNotReadyTheOldOneStays(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	require.NoError(t, Replace(path, []byte("first"), Mode(0o640)))
	no := errors.New("it cannot be given away")
	err := Replace(path, []byte("second"), func(f *os.File) error {
		holds(t, f.Name(), "second", 0o600)
		return no
	})
	require.ErrorIs(t, err, no)
	holds(t, path, "first", 0o640)
	require.Equal(t, []string{"a"}, names(t, dir), "nothing is left of it")
	require.ErrorIs(t, Replace(filepath.Join(dir, "none", "a"), nil, nil), fs.ErrNotExist)
}

func holds(t *testing.T, path, text string, mode fs.FileMode) {
	t.Helper()
	found, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, text, string(found))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, mode, info.Mode().Perm())
}

func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}
