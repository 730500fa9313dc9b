package journal

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func newJournal(t *testing.T) Journal { return Journal(filepath.Join(t.TempDir(), "history")) }

func whats(t *testing.T, j Journal) (all []string, unread int) {
	t.Helper()
	entries, unread, err := j.Entries()
	require.NoError(t, err)
	for _, e := range entries {
		all = append(all, e.By)
	}
	return all, unread
}

func TestEntriesComeBackTheNewestFirst(t *testing.T) {
	j := newJournal(t)
	first := Entry{Time: noon, By: "head", What: Apply, Done: true, SHA256: Digest(nil), Words: []string{"a rule is gone"}}
	require.NoError(t, j.Note(first))
	require.NoError(t, j.Note(Entry{Time: noon, By: "deputy", What: Confirm}))
	entries, unread, err := j.Entries()
	require.NoError(t, err)
	require.Zero(t, unread)
	require.Equal(t, "deputy", entries[0].By)
	require.Equal(t, first, entries[1])
}

func TestATornLineCostsItselfAlone(t *testing.T) {
	j := newJournal(t)
	require.NoError(t, j.Note(Entry{Time: noon, By: "before", What: Edit}))
	f, err := os.OpenFile(j.path(trailName), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString(`{"ts":"2026-03-04T12:0`)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.NoError(t, j.Note(Entry{Time: noon, By: "after", What: Edit}))
	by, unread := whats(t, j)
	require.Equal(t, []string{"after", "before"}, by)
	require.Equal(t, 1, unread)
}

func TestAnEntryIsBounded(t *testing.T) {
	j := newJournal(t)
	words := make([]string, 3*MostWords)
	for i := range words {
		words[i] = strings.Repeat("x", 2*mostWord)
	}
	require.NoError(t, j.Note(Entry{Time: noon, By: strings.Repeat("y", 2*mostWord), What: Edit, Words: words}))
	entries, _, err := j.Entries()
	require.NoError(t, err)
	require.Len(t, entries[0].Words, MostWords)
	require.Equal(t, fmt.Sprintf("and %d more", 2*MostWords+1), entries[0].Words[MostWords-1])
	require.Len(t, entries[0].Words[0], mostWord)
	require.Len(t, entries[0].By, mostWord)
	require.Len(t, words[0], 2*mostWord, "what the caller holds stays as it is")
}

func TestALongTrailIsPutAsideAndTheOneBeforeGoes(t *testing.T) {
	j := newJournal(t)
	for _, name := range []string{"first", "second", "third"} {
		require.NoError(t, j.Note(Entry{Time: noon, By: name, What: Edit}))
		f, err := os.OpenFile(j.path(trailName), os.O_APPEND|os.O_WRONLY, 0)
		require.NoError(t, err)
		_, err = f.Write(bytes.Repeat([]byte("\n"), mostTrail+1))
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
	require.NoError(t, j.Note(Entry{Time: noon, By: "fourth", What: Edit}))
	by, unread := whats(t, j)
	require.Equal(t, []string{"fourth", "third"}, by)
	require.Zero(t, unread)
}

func TestSeveralWritersLoseNothing(t *testing.T) {
	j := newJournal(t)
	var all sync.WaitGroup
	for w := range 8 {
		all.Go(func() {
			for i := range 8 {
				if err := j.Note(Entry{Time: noon, By: fmt.Sprint(w, "-", i), What: Reload}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	by, unread := whats(t, j)
	require.Len(t, by, 8*8)
	require.Zero(t, unread)
}

func TestAJournalThatCannotBeWrittenSaysSo(t *testing.T) {
	j := newJournal(t)
	require.NoError(t, os.WriteFile(string(j), nil, 0o600)) // a file where the folder should be
	require.ErrorContains(t, j.Note(Entry{Time: noon, What: Edit}), "write down who changed what")
	require.ErrorContains(t, j.Keep([]byte("x"), noon), "keep the rules file")
}

func TestTheEmptyJournalKeepsNothing(t *testing.T) {
	var j Journal
	require.NoError(t, j.Note(Entry{Time: noon, What: Edit}))
	require.NoError(t, j.Keep([]byte("x"), noon))
	entries, _, err := j.Entries()
	require.NoError(t, err)
	require.Empty(t, entries)
	_, err = j.Text(Digest([]byte("x")))
	require.ErrorIs(t, err, ErrNotKept)
}

func TestAKeptFileIsFoundByItsDigestAlone(t *testing.T) {
	j := newJournal(t)
	require.NoError(t, j.Keep([]byte("version = 1\n"), noon))
	text, err := j.Text(Digest([]byte("version = 1\n")))
	require.NoError(t, err)
	require.Equal(t, "version = 1\n", string(text))
	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(string(j)), "secret.rules.toml"), []byte("x"), 0o600))
	for _, name := range []string{"../secret", "", "..", strings.Repeat("z", 64), strings.ToUpper(Digest([]byte("version = 1\n"))), "../" + Digest(nil)} {
		_, err := j.Text(name)
		require.ErrorIs(t, err, ErrNotKept, name)
	}
}

func TestADamagedFileIsNotGiven(t *testing.T) {
	j := newJournal(t)
	text := []byte("version = 1\n")
	require.NoError(t, j.Keep(text, noon))
	path := j.path(Digest(text) + fileExt)
	require.NoError(t, os.WriteFile(path, []byte("version = 2\n"), 0o600))
	_, err := j.Text(Digest(text))
	require.ErrorIs(t, err, ErrDamaged)
	require.NoError(t, j.Keep(text, noon), "once it is in force again it is repaired")
	_, err = j.Text(Digest(text))
	require.NoError(t, err)
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.Symlink("/dev/zero", path))
	_, err = j.Text(Digest(text))
	require.ErrorContains(t, err, "no regular file")
}

func TestTheFilesThatWereInForceLongestAgoGoFirst(t *testing.T) {
	j := newJournal(t)
	text := func(i int) []byte { return fmt.Appendf(nil, "# %d\n", i) }
	for i := range mostFiles {
		require.NoError(t, j.Keep(text(i), noon.Add(time.Duration(i)*time.Minute)))
	}
	require.NoError(t, j.Keep(text(0), noon.Add(24*time.Hour)), "the first is in force again")
	require.NoError(t, j.Keep(text(mostFiles), noon.Add(25*time.Hour)))
	files, err := j.Files()
	require.NoError(t, err)
	require.Len(t, files, mostFiles)
	require.Equal(t, Digest(text(mostFiles)), files[0].SHA256)
	_, err = j.Text(Digest(text(0)))
	require.NoError(t, err)
	_, err = j.Text(Digest(text(1)))
	require.ErrorIs(t, err, ErrNotKept)
}

func TestLargeFilesAreBoundedTogether(t *testing.T) {
	j := newJournal(t)
	for i := range 6 {
		text := bytes.Repeat([]byte{byte('a' + i)}, 12<<20)
		require.NoError(t, j.Keep(text, noon.Add(time.Duration(i)*time.Minute)))
	}
	files, err := j.Files()
	require.NoError(t, err)
	require.Len(t, files, 5, "60 of 64 MiB")
}

func TestTwoFilesAreToldApartLineByLine(t *testing.T) {
	numbered := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "%d\n", i+1)
		}
		return b.String()
	}
	for name, c := range map[string]struct {
		before, after string
		want          []Line
	}{
		"the same":                            {"a\n", "a\n", nil},
		"other line ends are no difference":   {"a\r\nb\r\n", "a\nb", nil},
		"a line more":                         {"a\nc\n", "a\nb\nc\n", []Line{{Before: 1, After: 1, Text: "a"}, {After: 2, Text: "b"}, {Before: 2, After: 3, Text: "c"}}},
		"a line less":                         {"a\nb\n", "a\n", []Line{{Before: 1, After: 1, Text: "a"}, {Before: 2, Text: "b"}}},
		"from nothing":                        {"", "a\n", []Line{{After: 1, Text: "a"}}},
		"to nothing":                          {"a\n", "", []Line{{Before: 1, Text: "a"}}},
		"lines that look like a comparison":   {"@@ -1,1 +1,1 @@\n", "--- a\n", []Line{{Before: 1, Text: "@@ -1,1 +1,1 @@"}, {After: 1, Text: "--- a"}}},
		"what is far apart has a gap between": {"x\n" + numbered(9) + "y\n", numbered(9), []Line{{Before: 1, Text: "x"}, {Before: 2, After: 1, Text: "1"}, {Before: 3, After: 2, Text: "2"}, {Before: 4, After: 3, Text: "3"}, {Gap: true}, {Before: 8, After: 7, Text: "7"}, {Before: 9, After: 8, Text: "8"}, {Before: 10, After: 9, Text: "9"}, {Before: 11, Text: "y"}}},
	} {
		require.Equal(t, c.want, Compare([]byte(c.before), []byte(c.after)), name)
	}
}

// FuzzCompare holds that every line that is told stands in the files where its
// numbers say.
func FuzzCompare(f *testing.F) {
	f.Add("a\nb\n", "b\nc")
	f.Add("", "@@ -1 +1 @@\n")
	f.Add("a\r\n", "\n\n")
	f.Fuzz(func(t *testing.T, before, after string) {
		old, new := strings.Split(string(ending([]byte(before))), "\n"), strings.Split(string(ending([]byte(after))), "\n")
		for _, l := range Compare([]byte(before), []byte(after)) {
			if l.Before > 0 {
				require.Equal(t, old[l.Before-1], l.Text)
			}
			if l.After > 0 {
				require.Equal(t, new[l.After-1], l.Text)
			}
		}
	})
}
