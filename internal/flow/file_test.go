package flow

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// day is a clock that a test sets.
type day struct{ now time.Time }

func (d *day) clock() time.Time { return d.now }

// yes is of a clock that is known to be right.
func yes() bool { return true }

func newDay() *day { return &day{now: time.Now().UTC().Truncate(24 * time.Hour).Add(12 * time.Hour)} }

func list(t *testing.T, dir string) (names []string) {
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestFileBeginsANewPieceEachDayAndForgetsWhatIsTooOld(t *testing.T) {
	dir, d := t.TempDir(), newDay()
	f := NewFile(FileConfig{Path: filepath.Join(dir, "decisions.log"), Days: 2, Now: d.clock, Synchronised: yes})
	defer f.Close()
	for range 6 {
		_, err := f.Write([]byte("line\nline\n"))
		require.NoError(t, err)
		d.now = d.now.AddDate(0, 0, 1)
	}
	require.Len(t, list(t, dir), 1+2, "the present piece, and two days of finished ones")
}

func TestADayHasOnePieceHoweverManyBatchesItHas(t *testing.T) {
	dir, d := t.TempDir(), newDay()
	f := NewFile(FileConfig{Path: filepath.Join(dir, "decisions.log"), Now: d.clock})
	defer f.Close()
	for range 3 {
		for range 4 {
			_, err := f.Write([]byte("line\n"))
			require.NoError(t, err)
		}
		d.now = d.now.AddDate(0, 0, 1)
	}
	pieces, err := Pieces(f.Path)
	require.NoError(t, err)
	require.Len(t, pieces, 2, "of the two days before the present one")
}

func TestFileTendsOnDaysWithoutALine(t *testing.T) {
	dir, d := t.TempDir(), newDay()
	f := NewFile(FileConfig{Path: filepath.Join(dir, "decisions.log"), Days: 2, Now: d.clock, Synchronised: yes})
	defer f.Close()
	for range 2 {
		_, err := f.Write([]byte("line\n"))
		require.NoError(t, err)
		d.now = d.now.AddDate(0, 0, 1)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "decisions.log-notes"), nil, 0o600))
	d.now = d.now.AddDate(0, 0, 10)
	require.NoError(t, f.Tend())
	require.Equal(t, []string{"decisions.log", "decisions.log-notes"}, list(t, dir), "a stranger's file stays")
}

func TestFileStaysWithinItsBytes(t *testing.T) {
	dir, d := t.TempDir(), newDay()
	f := NewFile(FileConfig{Path: filepath.Join(dir, "decisions.log"), Bytes: 8000, Now: d.clock})
	defer f.Close()
	for range 200 {
		_, err := f.Write([]byte(strings.Repeat("x", 99) + "\n"))
		require.NoError(t, err)
	}
	var total int64
	for _, name := range list(t, dir) {
		info, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		total += info.Size()
		require.LessOrEqual(t, info.Size(), int64(1000))
	}
	require.LessOrEqual(t, total, int64(8000))
	require.Greater(t, total, int64(6000), "and keeps what it may")
}

func TestABatchThatIsLargerThanAPieceIsCutBetweenLines(t *testing.T) {
	dir, d := t.TempDir(), newDay()
	f := NewFile(FileConfig{Path: filepath.Join(dir, "decisions.log"), Bytes: 8000, Now: d.clock})
	defer f.Close()
	batch := []byte(strings.Repeat(strings.Repeat("x", 99)+"\n", 50) + strings.Repeat("y", 1500) + "\n" + "z\n")
	n, err := f.Write(batch)
	require.NoError(t, err)
	require.Equal(t, len(batch), n)
	pieces, err := Pieces(f.Path)
	require.NoError(t, err)
	var all []byte
	for _, name := range append(pieces, f.Path) {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		require.True(t, strings.HasSuffix(string(text), "\n"), "%s ends in the midst of a line", name)
		if text[0] != 'y' { // one line may be longer than a piece
			require.LessOrEqual(t, len(text), 1000)
		}
		all = append(all, text...)
	}
	require.Equal(t, string(batch), string(all))
}

func TestFileGoesOnAfterARestartOnALineOfItsOwn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "decisions.log")
	require.NoError(t, os.WriteFile(path, []byte("whole\ntorn by kill -9"), 0o600))
	f := NewFile(FileConfig{Path: path})
	_, err := f.Write([]byte("next\n"))
	require.NoError(t, err)
	require.NoError(t, f.Close())
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "whole\ntorn by kill -9\nnext\n", string(text))
}

func TestFileThatWasEmptiedAfterATornLineBeginsWithALine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "decisions.log")
	require.NoError(t, os.WriteFile(path, []byte("torn"), 0o600))
	f := NewFile(FileConfig{Path: path})
	require.NoError(t, f.open())
	require.True(t, f.torn)
	require.Error(t, f.fail(errors.New("no space left on device")))
	require.NoError(t, os.Truncate(path, 0)) // the administrator makes room
	_, err := f.Write([]byte("next\n"))
	require.NoError(t, err)
	require.NoError(t, f.Close())
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "next\n", string(text))
}

func TestFileThatCannotBeOpenedIsTriedAgain(t *testing.T) {
	dir := t.TempDir()
	blocker := filepath.Join(dir, "log")
	require.NoError(t, os.WriteFile(blocker, nil, 0o600)) // a file where the folder should be
	f := NewFile(FileConfig{Path: filepath.Join(blocker, "decisions.log")})
	_, err := f.Write([]byte("lost\n"))
	require.Error(t, err)
	require.NoError(t, os.Remove(blocker))
	_, err = f.Write([]byte("kept\n"))
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

func TestWhatIsWrittenIsWhereItsNameSays(t *testing.T) {
	for name, disturb := range map[string]func(t *testing.T, path string){
		"its folder was removed": func(t *testing.T, path string) { require.NoError(t, os.RemoveAll(filepath.Dir(path))) },
		"it was removed":         func(t *testing.T, path string) { require.NoError(t, os.Remove(path)) },
		"it was moved aside":     func(t *testing.T, path string) { require.NoError(t, os.Rename(path, path+".1")) },
		"it was emptied":         func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, 0)) },
		"its folder is another now": func(t *testing.T, path string) {
			dir := filepath.Dir(path)
			require.NoError(t, os.Rename(dir, dir+".old"))
			require.NoError(t, os.Mkdir(dir+".new", 0o750))
			require.NoError(t, os.Symlink(dir+".new", dir))
		},
		"another stands there": func(t *testing.T, path string) {
			require.NoError(t, os.Remove(path))
			require.NoError(t, os.WriteFile(path, nil, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log", "decisions.log")
			f := NewFile(FileConfig{Path: path})
			defer f.Close()
			_, err := f.Write([]byte("before\n"))
			require.NoError(t, err)
			disturb(t, path)
			_, err = f.Write([]byte("after\n"))
			require.NoError(t, err)
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, "after\n", string(text))
		})
	}
}

func TestTwoGatesThatShareALogLoseNoLine(t *testing.T) {
	dir, d := t.TempDir(), newDay()
	gate := func() *File {
		return NewFile(FileConfig{Path: filepath.Join(dir, "decisions.log"), Bytes: 8 * 250, Now: d.clock})
	}
	a, b := gate(), gate()
	defer a.Close()
	defer b.Close()
	var want strings.Builder
	for i := range 10 {
		if i == 5 {
			d.now = d.now.AddDate(0, 0, 1)
		}
		for _, f := range []*File{a, b} {
			line := strings.Repeat(string(rune('a'+i)), 50) + "\n"
			_, err := f.Write([]byte(line))
			require.NoError(t, err)
			want.WriteString(line)
		}
	}
	var got []byte
	pieces, err := Pieces(a.Path)
	require.NoError(t, err)
	for _, name := range append(pieces, a.Path) {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		require.LessOrEqual(t, len(text), 250, "%s: the size counts what the other wrote", name)
		got = append(got, text...)
	}
	require.Equal(t, want.String(), string(got))
}

func TestAFullDiskGivesAnError(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full on this system")
	}
	path := filepath.Join(t.TempDir(), "decisions.log")
	require.NoError(t, os.Symlink("/dev/full", path))
	f := NewFile(FileConfig{Path: path})
	_, err := f.Write([]byte("lost\n"))
	require.ErrorContains(t, err, "no space left")
}

// writeDay writes one line at a moment.
func (d *day) writeDay(t *testing.T, f *File, at time.Time, line string) {
	d.now = at
	_, err := f.Write([]byte(line + "\n"))
	require.NoError(t, err)
}

func TestAClockThatIsWrongForAWhileLosesNoPieceAndNoOrder(t *testing.T) {
	for name, wrong := range map[string]time.Duration{
		"a machine without a clock starts in 1970": -50 * 365 * 24 * time.Hour,
		"set back by a day":                        -24 * time.Hour,
		"ahead by ten days":                        10 * 24 * time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			dir, d := t.TempDir(), newDay()
			path := filepath.Join(dir, "decisions.log")
			f := NewFile(FileConfig{Path: path, Days: 30, Now: d.clock, Synchronised: yes})
			defer f.Close()
			at := d.now
			for i, shift := range []time.Duration{0, 0, wrong, wrong, 0, 0, 0} {
				d.writeDay(t, f, at.AddDate(0, 0, i).Add(shift), string(rune('a'+i)))
			}
			require.NoError(t, f.Tend())
			var text []byte
			pieces, err := f.pieces()
			require.NoError(t, err)
			for _, p := range append(pieces, piece{path: path}) { // in the order in which they are searched
				part, err := os.ReadFile(p.path)
				require.NoError(t, err)
				text = append(text, part...)
			}
			require.Equal(t, "a\nb\nc\nd\ne\nf\ng\n", string(text))

			d.now = at.AddDate(0, 0, 50)
			for _, p := range pieces { // as the file system has it
				require.NoError(t, os.Chtimes(p.path, at, at))
			}
			require.NoError(t, f.Tend())
			require.Equal(t, []string{"decisions.log"}, list(t, dir), "and none is kept for ever")
		})
	}
}
