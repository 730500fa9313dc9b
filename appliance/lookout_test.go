package appliance

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The times of files are the system's; the clock of the lookout stands where the
// test puts it.
func TestALookoutReadsOnlyWhatMayHaveChanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rules.toml")
	write(t, path, "first\n")
	reads := 0
	now := time.Now().Add(youngest)
	l := &lookout{path: path, now: func() time.Time { return now }, read: func(path string) sight {
		reads++
		return lookAtFile(path, mostText)
	}}
	sees := func(text string, want int, why string) {
		t.Helper()
		require.Equal(t, sight{digest: digest([]byte(text)), whole: true}, l.look())
		require.Equal(t, want, reads, why)
	}
	sees("first\n", 1, "what nobody has read is read")
	now = now.Add(2 * time.Second)
	sees("first\n", 1, "nothing has changed")
	later(t, path, func() { write(t, path, "other\n") }) // as long as before
	sees("other\n", 2, "its time has changed")
	now = now.Add(time.Second)
	sees("other\n", 2, "its times were old enough then")

	old := time.Now().Add(-time.Hour)
	later(t, path, func() { require.NoError(t, os.Chtimes(path, old, old)) })
	sees("other\n", 3, "its time was set back")
	later(t, path, func() {
		write(t, path, "third\n")
		require.NoError(t, os.Chtimes(path, old, old))
	})
	sees("third\n", 4, "its time was set to what it was, and its change was not")

	aside := path + ".new"
	write(t, aside, "forth\n")
	require.NoError(t, os.Chtimes(aside, old, old))
	require.NoError(t, os.Rename(aside, path))
	sees("forth\n", 5, "another file is in its place")

	now = now.Add(readAtLeast)
	sees("forth\n", 6, "now and then it is read whatever its times say")
	now = now.Add(-time.Hour)
	sees("forth\n", 7, "a clock that went back proves nothing")
}

// later changes a file until its times tell so: within one tick of the file
// system's clock they do not.
func later(t *testing.T, path string, change func()) {
	t.Helper()
	before, err := os.Stat(path)
	require.NoError(t, err)
	for {
		change()
		after, err := os.Stat(path)
		require.NoError(t, err)
		if !changed(after).Equal(changed(before)) {
			return
		}
	}
}

// A change within one tick of the file system's clock leaves the times alone, and
// must be seen all the same.
func TestALookoutTrustsNoYoungTimes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rules.toml")
	write(t, path, "first\n")
	info, err := os.Stat(path)
	require.NoError(t, err)
	reads := 0
	now := changed(info).Add(youngest - time.Nanosecond)
	l := &lookout{path: path, now: func() time.Time { return now }, read: func(string) sight { reads++; return sight{} }}
	l.look()
	l.look()
	require.Equal(t, 2, reads)
}

func TestALookoutSeesThatAFileIsGoneAndThereAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rules.toml")
	l := newLookout(path, func(path string) sight { return lookAtFile(path, mostText) })
	require.Equal(t, "the file is not there", l.look().gone)
	write(t, path, "first\n")
	require.Equal(t, digest([]byte("first\n")), l.look().digest)
	require.NoError(t, os.Remove(path))
	require.Equal(t, "the file is not there", l.look().gone)
}
