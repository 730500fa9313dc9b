package flow

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gatehouse/policy"
)

// counted is a Record that tells its number; each seventh is refused.
func counted(i int) *Record {
	r := &Record{ID: fmt.Sprintf("GH-%08d", i), Time: time.Date(2026, 3, 4, 0, 0, i, 0, time.UTC), Surface: policy.HTTP, Client: netip.MustParseAddr("10.20.0.5"),
		Host: fmt.Sprintf("h%d.example.org", i%100), Port: 80, Protocol: policy.PlainHTTP, Method: "GET", Path: "/a", PolicySHA: "0"}
	r.Verdict = policy.Verdict{Effect: policy.Allow, Reason: policy.Matched}
	if i%7 == 0 {
		r.Verdict = policy.Verdict{Reason: policy.HostNotListed}
	}
	return r
}

// logOf writes n Records in pieces of so many.
func logOf(t testing.TB, n, each int) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "decisions.log")
	var text []byte
	for i := range n {
		text = JSON(text, counted(i))
		if last := i == n-1; last || (i+1)%each == 0 {
			name := path
			if !last {
				name += "-" + time.Date(2026, 3, 4, 0, 0, i, 0, time.UTC).Format(stamp)
			}
			require.NoError(t, os.WriteFile(name, text, 0o600))
			text = nil
		}
	}
	return path
}

func ids(list []*Record) (all []string) {
	for _, r := range list {
		all = append(all, r.ID)
	}
	return all
}

func TestTheNewestThatFitAreFoundInEveryPiece(t *testing.T) {
	path := logOf(t, 5000, 1200)
	all, err := Search{Most: 9999, Lines: 9999}.Newest(t.Context(), path)
	require.NoError(t, err)
	require.Len(t, all, 5000)
	require.Equal(t, "GH-00004999", all[0].ID)
	require.Equal(t, "GH-00000000", all[4999].ID)

	for name, s := range map[string]Search{
		"by a mark":       {Marks: [][]byte{Mark("verdict", "denied"), Mark("host", "h3.example.org")}},
		"by looking":      {Fits: func(r *Record) bool { return !r.Verdict.Allowed() && r.Host == "h3.example.org" }},
		"by one and both": {Marks: [][]byte{Mark("host", "h3.example.org")}, Fits: func(r *Record) bool { return !r.Verdict.Allowed() }},
	} {
		s.Most, s.Lines = 4, 9999
		found, err := s.Newest(t.Context(), path)
		require.NoError(t, err)
		require.Equal(t, []string{"GH-00004403", "GH-00003703", "GH-00003003", "GH-00002303"}, ids(found), name)
		s.Lines = 900
		found, err = s.Newest(t.Context(), path)
		require.NoError(t, err)
		require.Equal(t, []string{"GH-00004403"}, ids(found), "%s: no further back than asked for", name)
	}
}

func TestTornAndOverlongLinesAreNoHindrance(t *testing.T) {
	path := filepath.Join(t.TempDir(), "decisions.log")
	text := append(JSON(nil, counted(1)), make([]byte, 3*searchBlock)...)
	text = append(JSON(append(text, '\n'), counted(2)), `{"ts":"20`...)
	require.NoError(t, os.WriteFile(path, text, 0o600))
	for _, marks := range [][][]byte{nil, {Mark("method", "GET")}} {
		found, err := Search{Marks: marks, Most: 9, Lines: 99}.Newest(t.Context(), path)
		require.NoError(t, err)
		require.Equal(t, []string{"GH-00000002", "GH-00000001"}, ids(found))
	}
	found, err := Search{Most: 9, Lines: 9}.Newest(t.Context(), path+".missing")
	require.NoError(t, err)
	require.Empty(t, found)
}

func TestAMarkIsOnlyWhatStandsInALineAsItIs(t *testing.T) {
	require.Nil(t, Mark("host", "ü"))
	require.Nil(t, Mark("host", `a"b`))
	require.Contains(t, string(JSON(nil, counted(0))), string(Mark("reason", "host-not-listed")))
}

func TestANeedleIsFoundWhereItStands(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := []byte(rapid.StringOfN(rapid.RuneFrom([]rune("abc")), 0, 40, -1).Draw(t, "in"))
		text := []byte(rapid.StringOfN(rapid.RuneFrom([]rune("abc")), 1, 4, -1).Draw(t, "text"))
		n := needles([][]byte{text}, s)[0]
		require.Equal(t, bytes.Index(s, text), n.index(s))
		require.Equal(t, bytes.Count(s, text), n.count(s))
	})
}

func TestWhatIsLookedForFirstIsTheRarestMark(t *testing.T) {
	block := []byte(strings.Repeat(`"verdict":"denied","rule":"x"`, 9) + "q")
	var order []string
	for _, n := range needles([][]byte{[]byte(`"verdict":"denied"`), []byte("q"), []byte("deni"), []byte("zebra")}, block) {
		order = append(order, string(n.text))
	}
	require.Equal(t, []string{"zebra", "q", `"verdict":"denied"`, "deni"}, order)
}

func BenchmarkSearchOf100000LinesForWhatIsNotThere(b *testing.B) {
	path := logOf(b, 100_000, 200_000)
	for name, s := range map[string]Search{
		"rare":     {Marks: [][]byte{Mark("rule", "no-such-rule")}},
		"numbers":  {Marks: [][]byte{[]byte("10.20.0.99")}},
		"frequent": {Marks: [][]byte{Mark("verdict", "denied"), Mark("host", "nowhere.example.org")}},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				s.Most, s.Lines = 200, 100_000
				if found, err := s.Newest(b.Context(), path); err != nil || len(found) > 0 {
					b.Fatal(found, err)
				}
			}
		})
	}
}
