package flow

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// shelved is a log that is written, cut and read as a test likes.
type shelved struct {
	path  string
	n     int // decisions so far
	piece int // finished ones so far
}

func (l *shelved) name(stamped int) string {
	return l.path + "-" + time.Date(2026, 3, 4, 0, 0, stamped, 0, time.UTC).Format(stamp)
}

func (l *shelved) append(t require.TestingT, text []byte) {
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	_, err = f.Write(text)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// lines are n decisions more.
func (l *shelved) lines(n int) (text []byte) {
	for range n {
		text = JSON(text, counted(l.n))
		l.n++
	}
	return text
}

var filters = []Filter{
	{}, {Host: "h7."}, {Host: "H1"}, {Client: "10.20.0.5"}, {Client: "10.9"}, {Verdict: "denied"}, {Verdict: "would_deny"}, {Reason: "host-not-listed"},
	{Surface: "http", Verdict: "denied", Host: "h4"}, {Surface: "dns"}, {Rule: "none"}, {Client: "é"}, {Rule: "é"},
}

func TestTheCatalogueFindsWhatASearchOfTheFilesFinds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "catalogue")
		require.NoError(t, err)
		defer os.RemoveAll(dir)
		l := &shelved{path: filepath.Join(dir, "decisions.log")}
		c := NewCatalogue(l.path, 1<<30)
		torn := false
		end := func() []byte { // of a line that was cut short
			if torn {
				torn = false
				return []byte{'\n'}
			}
			return nil
		}
		t.Repeat(map[string]func(*rapid.T){
			"write": func(t *rapid.T) { l.append(t, append(end(), l.lines(rapid.IntRange(1, 40).Draw(t, "lines"))...)) },
			"half a line": func(t *rapid.T) {
				text := append(end(), l.lines(1)...)
				l.append(t, text[:rapid.IntRange(1, len(text)-2).Draw(t, "octets")])
				torn = true
			},
			"repeats": func(t *rapid.T) {
				r := counted(l.n)
				r.Repeats = 3
				l.append(t, JSON(end(), r))
			},
			"another's": func(t *rapid.T) {
				text := strings.Replace(string(JSON(end(), counted(l.n))), `"host":"h`, `"host": "h`, 1)
				l.append(t, []byte(text+strings.Repeat("x", rapid.SampledFrom([]int{0, 9, longestLine + 5}).Draw(t, "x"))+"\n"))
				l.n++
			},
			"rotate": func(t *rapid.T) {
				if err := os.Rename(l.path, l.name(l.piece)); err == nil {
					l.piece++
					torn = false
				}
			},
			"delete": func(t *rapid.T) { os.Remove(l.name(rapid.IntRange(0, l.piece).Draw(t, "piece"))) },
			"cut": func(t *rapid.T) {
				if os.Truncate(l.path, 0) == nil {
					torn = false
				}
			},
			"": func(t *rapid.T) {
				f, n := rapid.SampledFrom(filters).Draw(t, "filter"), rapid.SampledFrom([]int{1, 20, 9999}).Draw(t, "most")
				want, err := Search{Fits: f.Fits, Most: n, Lines: 1 << 30}.Newest(context.Background(), l.path)
				require.NoError(t, err)
				got, err := c.Newest(context.Background(), f, n, nil)
				require.NoError(t, err)
				require.Equal(t, ids(want), ids(got))
				for _, id := range []string{fmt.Sprintf("GH-%08d", rapid.IntRange(0, l.n).Draw(t, "id")), "GH-NONE"} {
					want, err := Find(context.Background(), l.path, id)
					require.NoError(t, err)
					got, whole, err := c.Find(context.Background(), id)
					require.NoError(t, err)
					require.Equal(t, want, got)
					require.True(t, whole)
				}
			},
		})
	})
}

func TestACatalogueIsOfTheLastLines(t *testing.T) {
	path := logOf(t, 40_000, 9000)
	c := NewCatalogue(path, 10_000)
	all, err := c.Newest(t.Context(), Filter{}, 1<<30, nil)
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(all), 10_000)
	require.LessOrEqual(t, len(all), 10_000+drawerLines)
	require.Equal(t, "GH-00039999", all[0].ID)
	found, whole, err := c.Find(t.Context(), "GH-00000007")
	require.NoError(t, err)
	require.Nil(t, found)
	require.False(t, whole, "there are older lines")

	l := &shelved{path: path, n: 40_000}
	for range 10 { // the oldest go as new ones come
		l.append(t, l.lines(9000))
		require.NoError(t, c.Update(t.Context()))
		lines := 0
		for _, s := range c.shelves {
			lines += s.lines()
		}
		require.LessOrEqual(t, lines, 10_000+drawerLines)
	}
	require.Len(t, c.shelves, 1, "those before are not asked any more")
	known := all[:0]
	all, err = c.Newest(t.Context(), Filter{}, 10_000, nil)
	require.NoError(t, err)
	known = append(known, all[:9000]...)
	rest, err := c.Newest(t.Context(), Filter{}, 1000, known)
	require.NoError(t, err)
	require.Equal(t, ids(all[9000:]), ids(rest), "what is known is not given again")
}

// What a search costs: the lines that it gives, and no others.
func TestASearchReadsNoLineThatDoesNotFit(t *testing.T) {
	path := logOf(t, 30_000, 7000)
	c := NewCatalogue(path, 100_000)
	require.NoError(t, c.Update(t.Context()))
	size := int64(0)
	names, err := Pieces(path)
	require.NoError(t, err)
	for _, name := range append(names, path) {
		info, err := os.Stat(name)
		require.NoError(t, err)
		size += info.Size()
	}
	require.Equal(t, size, c.octets, "each line is read once")
	spent := func(f Filter, most int) (lines int) {
		before := c.octets
		found, err := c.Newest(t.Context(), f, most, nil)
		require.NoError(t, err)
		want := int64(0)
		for _, r := range found {
			want += int64(len(JSON(nil, r)))
		}
		require.Equal(t, want, c.octets-before, "%+v", f)
		return len(found)
	}
	require.Zero(t, spent(Filter{Host: "nowhere"}, 200))
	require.Zero(t, spent(Filter{Verdict: "denied", Surface: "dns"}, 200))
	require.Equal(t, 200, spent(Filter{}, 200))
	require.Equal(t, 43, spent(Filter{Host: "h7.", Verdict: "denied"}, 200))
	before := c.octets
	_, _, err = c.Find(t.Context(), "GH-00000007")
	require.NoError(t, err)
	require.Equal(t, int64(len(JSON(nil, counted(7)))), c.octets-before)

	l := &shelved{path: path, n: 30_000}
	added := l.lines(3)
	l.append(t, added)
	before = c.octets
	require.NoError(t, c.Update(t.Context()))
	require.Equal(t, int64(len(added)), c.octets-before, "only what is new is read")
}

func TestASearchThatIsGivenUpCostsTheNextNothing(t *testing.T) {
	path := logOf(t, 9000, 20_000)
	c := NewCatalogue(path, 100_000)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := c.Newest(gone, Filter{}, 10, nil)
	require.ErrorIs(t, err, context.Canceled)
	require.Positive(t, c.octets)
	all, err := c.Newest(t.Context(), Filter{}, 9999, nil)
	require.NoError(t, err)
	require.Len(t, all, 9000)
	slices.Reverse(all)
	require.Equal(t, "GH-00000000", all[0].ID)
}

func TestWhatIsNoPlainFileHoldsNoDecisions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "decisions.log")
	require.NoError(t, os.Symlink("/dev/null", path))
	require.NoError(t, os.Mkdir(path+"-20260304T000000Z", 0o700))
	for range 2 {
		all, err := NewCatalogue(path, 10).Newest(t.Context(), Filter{}, 10, nil)
		require.NoError(t, err)
		require.Empty(t, all)
		_, err = Find(t.Context(), path, "GH-00000000")
		require.NoError(t, err)
	}
	_, err := NewCatalogue("/nowhere/decisions.log", 10).Newest(t.Context(), Filter{}, 10, nil)
	require.NoError(t, err)
}

func BenchmarkCatalogueOf100000Lines(b *testing.B) {
	path := logOf(b, 100_000, 30_000)
	b.Run("made", func(b *testing.B) {
		before := processorTime(b)
		for b.Loop() {
			require.NoError(b, NewCatalogue(path, 100_000).Update(b.Context()))
		}
		b.ReportMetric(float64((processorTime(b)-before).Microseconds())/1000/float64(b.N), "cpu-ms/op")
	})
}
