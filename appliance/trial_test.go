package appliance

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/appliance/console"
	"gatehouse/internal/wholefile"
)

// bench is a trial over a file, with a clock of its own and a loader that takes
// everything but what says "bad".
type bench struct {
	*trial
	t     *testing.T
	rules string
	clock time.Time
	loads []string
}

func newBench(t *testing.T, text string) *bench {
	dir := t.TempDir()
	b := &bench{t: t, rules: filepath.Join(dir, "rules.toml"), clock: time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)}
	write(t, b.rules, text)
	b.restart()
	return b
}

// restart is the trial of a new process.
func (b *bench) restart() {
	b.trial = &trial{
		keep: filepath.Join(filepath.Dir(b.rules), "state", "trial.json"), files: Files{Rules: b.rules}, log: quiet(),
		now:  func() time.Time { return b.clock },
		note: func(by, what string, done bool, words ...string) {},
		load: func(cause) Outcome {
			b.loads = append(b.loads, b.text())
			return Outcome{Taken: b.text() != "bad\n"}
		},
		good: func(file []byte) []byte {
			if string(file) == "bad\n" {
				return []byte("in force\n")
			}
			return file
		},
	}
	b.trial.open()
}

func (b *bench) text() string {
	text, err := os.ReadFile(b.rules)
	require.NoError(b.t, err)
	return string(text)
}

func (b *bench) apply(text string) {
	b.t.Helper()
	trial, err := b.Apply("somebody", "", []byte(text))
	require.NoError(b.t, err)
	require.Equal(b.t, b.clock.Add(trialTime), trial.Until)
}

func TestADraftThatNobodyConfirmsGivesWayToTheFileOfBefore(t *testing.T) {
	b := newBench(t, "old\n")
	b.apply("new\n")
	require.Equal(t, "new\n", b.text())
	b.clock = b.clock.Add(trialTime - time.Second)
	b.tend()
	require.Equal(t, "new\n", b.text())
	require.NotNil(t, b.Pending())
	b.clock = b.clock.Add(time.Second)
	b.tend()
	require.Equal(t, "old\n", b.text())
	require.Equal(t, []string{"new\n", "old\n"}, b.loads)
	require.Nil(t, b.Pending())
	require.ErrorIs(t, b.Confirm("somebody", ""), console.ErrNoTrial)
}

func TestNobodyElseTakesAFileWhileADraftIsPutInItsPlace(t *testing.T) {
	b := newBench(t, "old\n")
	load := b.load
	b.load = func(c cause) Outcome {
		require.False(t, b.mu.TryLock(), "the watcher may come first")
		return load(c)
	}
	b.apply("new\n")
	require.NoError(t, b.Revert("somebody", ""))
	require.Len(t, b.loads, 2)
	b.alone(func() { require.False(t, b.mu.TryLock()) })
}

func TestADraftThatIsConfirmedStays(t *testing.T) {
	b := newBench(t, "old\n")
	b.apply("new\n")
	require.NoError(t, b.Confirm("somebody", ""))
	b.clock = b.clock.Add(time.Hour)
	b.tend()
	b.restart()
	b.tend()
	require.Equal(t, "new\n", b.text())
}

func TestATrialOutlivesTheProcess(t *testing.T) {
	b := newBench(t, "old\n")
	b.apply("new\n")
	b.restart()
	require.NotNil(t, b.Pending())
	b.clock = b.clock.Add(trialTime)
	b.tend()
	require.Equal(t, "old\n", b.text())
	b.restart()
	require.Nil(t, b.Pending())
}

func TestAfterTwoDraftsTheFileOfBeforeTheFirstComesBack(t *testing.T) {
	b := newBench(t, "old\n")
	b.apply("new\n")
	b.clock = b.clock.Add(time.Minute)
	b.apply("newer\n")
	require.NoError(t, b.Revert("somebody", ""))
	require.Equal(t, "old\n", b.text())
}

func TestADraftThatIsNotTakenChangesNothing(t *testing.T) {
	b := newBench(t, "old\n")
	_, err := b.Apply("somebody", "", []byte("bad\n"))
	require.ErrorContains(t, err, "the draft was not taken")
	require.Equal(t, "old\n", b.text())
	require.Nil(t, b.Pending())
	b.restart()
	require.Nil(t, b.Pending())

	b.apply("new\n")
	_, err = b.Apply("somebody", "", []byte("bad\n"))
	require.Error(t, err)
	require.Equal(t, "new\n", b.text(), "the first draft is on trial still")
	b.restart()
	require.NoError(t, b.Revert("somebody", ""))
	require.Equal(t, "old\n", b.text())
}

func TestAFileThatSomebodyElseChangedMeanwhileIsLeftAlone(t *testing.T) {
	b := newBench(t, "old\n")
	b.apply("new\n")
	write(t, b.rules, "by hand\n")
	b.clock = b.clock.Add(trialTime)
	b.tend()
	require.Equal(t, "by hand\n", b.text())
	require.Nil(t, b.Pending())
}

func TestWhatSomebodyElseWroteBetweenTwoDraftsComesBack(t *testing.T) {
	b := newBench(t, "old\n")
	b.apply("new\n")
	write(t, b.rules, "by hand\n")
	b.apply("newer\n")
	require.NoError(t, b.Revert("somebody", ""))
	require.Equal(t, "by hand\n", b.text())
}

func TestAFileThatSomebodyElseWroteDoesNotComeBackAndNobodyIsToldSo(t *testing.T) {
	b := newBench(t, "old\n")
	b.apply("new\n")
	write(t, b.rules, "by hand\n")
	require.ErrorIs(t, b.Revert("somebody", ""), console.ErrFileChanged)
	require.Equal(t, "by hand\n", b.text())
}

func TestADraftOfAnOlderFileUndoesNothing(t *testing.T) {
	b := newBench(t, "old\n")
	base := digest([]byte("old\n"))
	write(t, b.rules, "by hand\n")
	_, err := b.Apply("somebody", base, []byte("new\n"))
	require.ErrorIs(t, err, console.ErrStale)
	require.Equal(t, "by hand\n", b.text())
}

func TestNobodyConfirmsAnothersDraft(t *testing.T) {
	b := newBench(t, "old\n")
	mine, err := b.Apply("somebody", "", []byte("new\n"))
	require.NoError(t, err)
	b.apply("another's\n")
	require.ErrorIs(t, b.Confirm("somebody", mine.SHA256), console.ErrOtherTrial)
	require.ErrorIs(t, b.Revert("somebody", mine.SHA256), console.ErrOtherTrial)
	require.NotNil(t, b.Pending())
	require.NoError(t, b.Confirm("another", b.Pending().SHA256))
}

func TestInThePlaceOfABrokenFileTheRulesInForceComeBack(t *testing.T) {
	b := newBench(t, "bad\n")
	b.apply("new\n")
	require.NoError(t, b.Revert("somebody", ""))
	require.Equal(t, "in force\n", b.text())
}

func TestADraftThatCannotBeWrittenLeavesTheFileWhole(t *testing.T) {
	path := os.Getenv("GATEHOUSE_TEST_NO_ROOM")
	if path == "" { // the bound is the whole process's: so it is one of its own
		path = filepath.Join(t.TempDir(), "rules.toml")
		child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		child.Env = append(os.Environ(), "GATEHOUSE_TEST_NO_ROOM="+path)
		out, err := child.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), "PASS")
		return
	}
	write(t, path, "old, and whole\n")
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 4 << 10, Max: 4 << 10})) // a full disk, as it were
	for name, put := range map[string]func(string, []byte) error{"as a whole": overwrite, "in its place": wholefile.Rewrite} {
		require.ErrorIs(t, put(path, bytes.Repeat([]byte("new\n"), 4<<10)), syscall.EFBIG, name)
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, "old, and whole\n", string(text), name)
	}
}

func TestADraftIsWrittenAsTheFileIs(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "rules.toml"), filepath.Join(dir, "link.toml")
	write(t, path, "old, and longer\n")
	require.NoError(t, os.Chmod(path, 0o660))
	require.NoError(t, os.Symlink("rules.toml", link))
	for name, put := range map[string]func(string, []byte) error{"as a whole": overwrite, "in its place": wholefile.Rewrite} {
		for _, text := range []string{"new\n", "new, and much longer than it was\n"} {
			require.NoError(t, put(link, []byte(text)), name)
			found, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, text, string(found), name)
			info, err := os.Lstat(path)
			require.NoError(t, err)
			require.Equal(t, os.FileMode(0o660), info.Mode(), name)
			info, err = os.Lstat(link)
			require.NoError(t, err)
			require.Equal(t, os.ModeSymlink, info.Mode().Type(), name)
		}
	}
}

func TestADraftKeepsTheLineEndsOfTheFile(t *testing.T) {
	b := newBench(t, "old\r\nfile\r\n")
	b.apply("new\nfile\n")
	require.Equal(t, "new\r\nfile\r\n", b.text())
}

func TestBuiltInRulesAreNotWritten(t *testing.T) {
	b := newBench(t, "old\n")
	b.files.Rules = ""
	require.False(t, b.Writable())
	_, err := b.Apply("somebody", "", []byte("new\n"))
	require.ErrorIs(t, err, console.ErrReadOnly)
}

func TestAStateThatCannotBeKeptPutsNoDraftInForce(t *testing.T) {
	b := newBench(t, "old\n")
	write(t, filepath.Dir(b.keep), "a file where the folder should be")
	_, err := b.Apply("somebody", "", []byte("new\n"))
	require.ErrorContains(t, err, "the file of before cannot be kept")
	require.Equal(t, "old\n", b.text())
}

func TestATornTrialFileLeavesTheRulesAsTheyAre(t *testing.T) {
	b := newBench(t, "old\n")
	write(t, b.keep, `{"until":`)
	b.restart()
	b.tend()
	require.Nil(t, b.Pending())
	require.Equal(t, "old\n", b.text())
}
