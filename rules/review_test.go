package rules

import (
	"encoding/csv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const reviewed = `version = 1
[[client]]
name = "emerge"
from = ["10.20.0.5", "10.20.0.6"]
[[pack]]
name = "heartbeat"
clients = ["emerge"]
[[allow]]
name = "exam-board"
clients = ["emerge", "10.9.0.0/16"]
hosts = ["www.example.org"]
methods = ["GET"]
owner = "Head of IT"
because = "results <service>, agreed"
until = 2026-12-01
[[allow]]
name = "cdn"
hosts = ["*.cdn.example.org"]
ports = [443, 8443]
because = "=HYPERLINK(\"x\")"
[[allow]]
name = "old"
hosts = ["old.example.org"]
owner = "Head of IT"
because = "a pilot"
until = 2026-11-01
[[deny]]
name = "no-video"
hosts = ["video.cdn.example.org"]
owner = "Head"
because = "exam week"
`

const decisions = `{"ts":"2026-11-01T08:00:00Z","rule":"exam-board","verdict":"allowed","reason":"matched","end":"done"}
{"ts":"2026-11-02T08:00:00Z","rule":"exam-board","verdict":"allowed","reason":"matched","end":"open"}
{"ts":"2026-11-03T08:00:00Z","rule":"exam-board","verdict":"allowed","reason":"matched","end":"done"}
{"ts":"2026-11-04T08:00:00Z","rule":"cdn","verdict":"denied","reason":"port-not-listed","end":"refused"}
{"ts":"2026-11-05T08:00:00Z","rule":"no-video","verdict":"denied","reason":"denied-by-rule","end":"refused"}
not a line of the log
`

func reviewOf(t *testing.T, book *Book) Review {
	loaded, problems := Load("rules.toml", []byte(reviewed), testEnv(t))
	require.NotNil(t, loaded, "%v", problems)
	return loaded.Review("rules.toml", testNow, 30*24*time.Hour, book)
}

func TestAReviewRemarksOnWhatSomebodyShouldLookAt(t *testing.T) {
	remarks := func(v Review) map[string][]string {
		all := map[string][]string{}
		for _, r := range v.Rules {
			all[r.Name] = r.Remarks
		}
		return all
	}
	require.Equal(t, map[string][]string{
		"heartbeat/health": nil,
		"exam-board":       {"ends on 2026-12-01"},
		"cdn":              {"names no owner"},
		"old":              {"ended on 2026-11-01"},
		"no-video":         nil,
	}, remarks(reviewOf(t, nil)))

	book := &Book{}
	require.NoError(t, book.Read(strings.NewReader(decisions)))
	require.Equal(t, 4, book.Decisions)
	require.Equal(t, 1, book.Unread)
	v := reviewOf(t, book)
	const never = "not used between 2026-11-01 and 2026-11-05"
	require.Equal(t, map[string][]string{
		"heartbeat/health": {never},
		"exam-board":       {"ends on 2026-12-01"},
		"cdn":              {"names no owner", never}, // it came nearest once, and permitted nothing
		"old":              {"ended on 2026-11-01", never},
		"no-video":         nil, // it refused once
	}, remarks(v))
	require.Equal(t, "2 times, last on 2026-11-03", v.Rules[1].Use())

	empty := reviewOf(t, &Book{})
	require.NotContains(t, remarks(empty)["cdn"], "not used", "an empty book knows nothing")
}

func TestAReviewNamesGroupsAndClauses(t *testing.T) {
	v := reviewOf(t, nil)
	require.Equal(t, []string{"emerge"}, v.Rules[0].Clients)
	require.Equal(t, []string{"emerge", "10.9.0.0/16"}, v.Rules[1].Clients)
	require.Equal(t, []string{"ports 443", "methods GET", "addresses public"}, v.Rules[1].How)
	require.Equal(t, []string{"every permitted client"}, v.Rules[2].Clients)
}

func TestAReviewAsText(t *testing.T) {
	var b strings.Builder
	require.NoError(t, reviewOf(t, nil).Text(&b))
	require.Contains(t, b.String(), "rules.toml, reviewed on 2026-11-20: mode enforce, 5 rules\n\nto look at:\n  allow exam-board (line 8) ends on 2026-12-01\n  allow cdn (line 16) names no owner\n")
	require.Contains(t, b.String(), `
allow exam-board (line 8)
  who      emerge, 10.9.0.0/16
  where    www.example.org
  how      ports 443; methods GET; addresses public
  owner    Head of IT
  because  results <service>, agreed
  until    2026-12-01
`)
}

func TestAReviewAsATableHoldsNoFormula(t *testing.T) {
	var b strings.Builder
	require.NoError(t, reviewOf(t, &Book{}).CSV(&b))
	rows, err := csv.NewReader(strings.NewReader(b.String())).ReadAll()
	require.NoError(t, err)
	require.Equal(t, []string{"kind", "rule", "line", "pack", "clients", "hosts", "clauses", "owner", "because", "until", "remarks", "uses", "last_use"}, rows[0])
	require.Len(t, rows, 6)
	require.Equal(t, `'=HYPERLINK("x")`, rows[3][8])
}

func TestAReviewAsAPageIsEscaped(t *testing.T) {
	var b strings.Builder
	require.NoError(t, reviewOf(t, nil).HTML(&b))
	require.Contains(t, b.String(), "results &lt;service&gt;, agreed")
	require.Contains(t, b.String(), "<p>rules.toml, reviewed on 2026-11-20: mode enforce, 5 rules.")
	require.NotContains(t, b.String(), ">Used<")
	b.Reset()
	require.NoError(t, reviewOf(t, &Book{}).HTML(&b))
	require.Contains(t, b.String(), ">Used<")
}
