package appliance

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whoever opens a pipe waits for its other end, and a device may have no end: neither,
// in the place of a file that is read at the start, may keep the gate from serving.
func TestWhatIsNoFileInTheStateFolderHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	require.NoError(t, s.stop())
	state := filepath.Join(s.dir, "state")
	text, err := os.ReadFile(filepath.Join(s.dir, "rules.toml"))
	require.NoError(t, err)
	kept := filepath.Join(state, "last-good", digest(text)+lastGoodExt)
	require.NoError(t, os.Remove(kept))
	for _, pipe := range []string{
		kept, filepath.Join(state, "last-good", strings.Repeat("a", 64)+lastGoodExt), filepath.Join(state, "trial.json"),
		filepath.Join(state, "alarms.json"), filepath.Join(state, "azure-fetch.json"),
	} {
		require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	}
	s.start()
	status, _ := s.get("/update.inf")
	require.Equal(t, 200, status, "the rules file itself is in force")
	require.NoError(t, s.stop())
	require.Contains(t, s.said.String(), "trial.json: it is no regular file")
	info, err := os.Lstat(kept)
	require.NoError(t, err)
	require.True(t, info.Mode().IsRegular(), "the last good file is kept in the pipe's place")

	// And where it is needed: the pipe is passed over, and what is left is taken.
	write(t, filepath.Join(s.dir, "rules.toml"), "version = ")
	require.NoError(t, syscall.Mkfifo(filepath.Join(state, "last-good", strings.Repeat("b", 64)+lastGoodExt), 0o600))
	require.NoError(t, os.Symlink("/dev/zero", filepath.Join(state, "last-good", strings.Repeat("c", 64)+lastGoodExt)))
	s.start()
	status, _ = s.get("/update.inf")
	require.Equal(t, 200, status, "the last good file is in force")
	require.Zero(t, (&tagFetch{keep: filepath.Join(state, "azure-fetch.json")}).load())
}
