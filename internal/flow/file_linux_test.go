package flow

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// withoutDescriptors calls do while nothing more can be opened in this process. Tests that
// run beside others must not ask for it.
func withoutDescriptors(t *testing.T, do func()) {
	t.Helper()
	var had syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &had))
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 0, Max: had.Max}))
	defer func() { require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &had)) }()
	do()
}

func writeLine(t *testing.T, f *File, line string) {
	t.Helper()
	n, err := f.Write([]byte(line + "\n"))
	require.NoError(t, err)
	require.Equal(t, len(line)+1, n)
}

func lines(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

func TestWhereNoNewPieceCanBeBegunLinesGoOnIntoThePresentOne(t *testing.T) {
	d, elapsed := newDay(), time.Duration(0)
	f := NewFile(FileConfig{Path: filepath.Join(t.TempDir(), "decisions.log"), Now: d.clock, Elapsed: func() time.Duration { return elapsed }})
	defer f.Close()
	writeLine(t, f, "one")
	d.now = d.now.AddDate(0, 0, 1)
	withoutDescriptors(t, func() {
		writeLine(t, f, "two")
		writeLine(t, f, "three")
		require.ErrorIs(t, f.Stuck(), syscall.EMFILE)
	})
	writeLine(t, f, "four")
	require.Error(t, f.Stuck(), "it was tried a moment ago")
	elapsed += tryAgain
	writeLine(t, f, "five")
	require.NoError(t, f.Stuck())
	pieces, err := Pieces(f.Path)
	require.NoError(t, err)
	require.Len(t, pieces, 1)
	require.Equal(t, "one\ntwo\nthree\nfour\n", lines(t, pieces[0]))
	require.Equal(t, "five\n", lines(t, f.Path))
}

// The last descriptor was taken by somebody else while the piece got its name.
func TestAPieceThatIsFinishedTakesLinesUntilTheNextIsOpen(t *testing.T) {
	f := NewFile(FileConfig{Path: filepath.Join(t.TempDir(), "decisions.log"), Bytes: 8 << 10})
	defer f.Close()
	writeLine(t, f, "one")
	var err error
	f.aside, err = f.finish()
	require.NoError(t, err)
	finished := f.aside
	withoutDescriptors(t, func() {
		writeLine(t, f, "two")
		writeLine(t, f, "three")
	})
	writeLine(t, f, "four")
	require.Equal(t, "one\ntwo\nthree\n", lines(t, finished))
	require.Equal(t, "four\n", lines(t, f.Path))

	f.aside, err = f.finish()
	require.NoError(t, err)
	require.NoError(t, os.Remove(f.aside))
	withoutDescriptors(t, func() {
		_, err := f.Write([]byte("lost\n"))
		require.ErrorIs(t, err, syscall.EMFILE, "what goes into a file without a name is lost, and said to be")
	})
	writeLine(t, f, "six")
	require.Equal(t, "six\n", lines(t, f.Path))
}

func TestThatNoNewPieceCanBeBegunIsSaidOnce(t *testing.T) {
	var said strings.Builder
	f := NewFile(FileConfig{Path: filepath.Join(t.TempDir(), "decisions.log"), Bytes: 8 * 100})
	defer f.Close()
	l := NewLog(LogConfig{Out: f, Logger: slog.New(slog.NewTextHandler(&said, nil))})
	write := func() { l.write([]byte(strings.Repeat("y", 59) + "\n")) }
	write()
	withoutDescriptors(t, func() {
		write()
		write()
		require.ErrorIs(t, l.Stuck(), syscall.EMFILE)
	})
	require.Equal(t, 1, strings.Count(said.String(), "no new piece can be begun"))
	f.tried -= tryAgain
	write()
	require.NoError(t, l.Stuck())
	require.Equal(t, 1, strings.Count(said.String(), "a new piece was begun again"))
	require.Zero(t, l.Dropped())
	require.NoError(t, l.Trouble())
}

func TestAPieceThatCannotBeFinishedKeepsWithinTheBoundOfAll(t *testing.T) {
	path := filepath.Join(t.TempDir(), strings.Repeat("x", 250)) // a finished piece's name is longer than a name may be
	f := NewFile(FileConfig{Path: path, Bytes: 8000})
	defer f.Close()
	line := strings.Repeat("y", 99)
	for range 80 {
		writeLine(t, f, line)
	}
	require.ErrorIs(t, f.Stuck(), syscall.ENAMETOOLONG)
	_, err := f.Write([]byte(line + "\n"))
	require.ErrorIs(t, err, syscall.ENAMETOOLONG)
	require.Len(t, lines(t, path), 8000)
}

// Of two gates that finish a piece in the same moment, both saw that the name was free.
func TestNoPieceTakesThePlaceOfAnother(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "decisions.log"), filepath.Join(dir, "decisions.log-20261102T000000Z")
	for path, text := range map[string]string{from: "ours\n", to: "theirs\n"} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	for _, rename := range []func(from, to string) error{renameNew, renameFree} {
		require.ErrorIs(t, rename(from, to), os.ErrExist)
		require.Equal(t, "ours\n", lines(t, from))
		require.Equal(t, "theirs\n", lines(t, to))
	}
	for _, rename := range []func(from, to string) error{renameNew, renameFree} {
		require.NoError(t, rename(from, to+"1"))
		require.Equal(t, "ours\n", lines(t, to+"1"))
		require.ErrorIs(t, rename(from, to+"2"), os.ErrNotExist)
		require.NoError(t, os.Rename(to+"1", from))
	}
}
