package rules

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/rules/scan"
)

const sound = `version = 1
mode = "enforce"

[[client]]
name = "emerge"
from = ["10.20.0.5"]

[[client]]
name = "devices"
from = [
  "10.30.0.0/16",
  "2001:db9:30::/48",
]

[[pack]]
name = "heartbeat"
clients = ["emerge"]

[[allow]]
name = "exam-board"
clients = ["emerge"]
hosts = ["www.example.org", "*.cdn.example.org"]
ports = [443, "8443-8444"]
protocol = "tls"
because = "exam board pilot, ticket 4711"
until = 2027-01-31

[[allow]]
name = "letters"
clients = ["devices"]
hosts = ["letters.example.org"]
ports = 80
types = { "*.csv" = "text/csv", "*" = ["text/html"] }

[[deny]]
name = "never-this"
clients = "devices"
hosts = ["files.cdn.example.org"]

[[test]]
client = "emerge"
allow = ["CONNECT www.example.org:443"]
`

// slipsOfThePen break a line in ways that hands do.
var slipsOfThePen = map[string]func(line string) string{
	"its last character is missing":   func(s string) string { return s[:len(s)-1] },
	"its first character is missing":  func(s string) string { return s[1:] },
	"its first quote is missing":      func(s string) string { return strings.Replace(s, `"`, "", 1) },
	"its equals sign is missing":      func(s string) string { return strings.Replace(s, "=", "", 1) },
	"a colon stands for equals":       func(s string) string { return strings.Replace(s, " =", ":", 1) },
	"its quotes are typographic":      func(s string) string { return strings.ReplaceAll(s, `"`, "\u201d") },
	"its commas are missing":          func(s string) string { return strings.ReplaceAll(s, ",", "") },
	"its first bracket is missing":    func(s string) string { return strings.Replace(s, "[", "", 1) },
	"its last bracket is missing":     func(s string) string { return strings.TrimSuffix(strings.TrimSuffix(s, "]"), "}") },
	"a stray brace stands at its end": func(s string) string { return s + "}" },
	"it ends with a backslash":        func(s string) string { return s + `\` },
	"it begins with a stray quote":    func(s string) string { return `"` + s },
	"it is a sentence":                func(s string) string { return "please allow this for the exams" },
}

// Whatever is wrong with one line, no other line is told of: the person who
// mends it would look for a mistake that is none. What the line says is not
// missed elsewhere either.
func TestOneBrokenLineMakesNoOtherLineWrong(t *testing.T) {
	loaded, problems := Load("rules.toml", []byte(sound), testEnv(t))
	require.NotNil(t, loaded, "%v", problems)
	doc, err := scan.Scan(sound)
	require.NoError(t, err)
	d := newDocument("rules.toml", sound)
	lines := strings.Split(sound, "\n")
	told := 0
	for i, line := range lines {
		if line == "" {
			continue
		}
		statement := d.lineOf(doc.Statements[max(0, lastBefore(doc.Statements, d.starts[i]))])
		for slip, breaks := range slipsOfThePen {
			if strings.HasPrefix(line, "[") && slip == "it is a sentence" {
				continue // then what stands below is in the wrong table
			}
			broken := strings.Join(slices.Concat(lines[:i], []string{breaks(line)}, lines[i+1:]), "\n")
			_, problems := Load("rules.toml", []byte(broken), testEnv(t))
			if !slices.ContainsFunc(problems, isSyntax) {
				continue // still TOML: another file
			}
			told++
			for _, p := range problems {
				require.True(t, p.Level == Warning || p.Line == i+1 || p.Line == statement, "line %d, %s: %q\n%s", i+1, slip, breaks(line), p)
			}
		}
	}
	require.Greater(t, told, 150)
}

func isSyntax(p Problem) bool { return slices.Contains([]string{"GH001", "GH003", "GH017"}, p.Code) }

// The decoder gets a large file in pieces. What it says of the pieces is what it
// would say of the whole.
func FuzzAFileIsReadInPiecesAsInOne(f *testing.F) {
	for _, seed := range []string{
		sound, "a = 1\n[[b]]\nc = 1\n[b.d]\ne = 1\n[[b]]\n[[f]]\n", "[[a]]\n[a]\n", "[[a]]\n[[b]]\n[[a]]\n", "[[a]]\n[[b]]\n[a.c]\n", "a = []\n[[a]]\n",
		"[[a]]\n[[b]]\n[b]\n", "[a]\n[[b]]\n[a]\n", "a.b = 1\n[[c]]\n[[a]]\n", "[[a]]\nb = 1\n[[c]]\nb = 1\nb = 2\n", "[[a.b]]\n[[c]]\n[[a.b]]\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d := newDocument("rules.toml", text)
		whole, err := scan.Scan(text)
		if deep := (*scan.Error)(nil); errors.As(err, &deep) && deep.Deep || !d.readable([]byte(text)) {
			return
		}
		pieces, _ := scan.Scan(text)
		wholly, inPieces := d.take(whole, len(text)+1), d.take(pieces, 1)
		require.Equal(t, wholly == nil, inPieces == nil, "%v, %v", wholly, inPieces)
		if wholly == nil {
			require.Equal(t, whole.Root, pieces.Root)
		}
	})
}

func TestALargeFileIsReadInPiecesAndItsErrorsStandWhereTheyAre(t *testing.T) {
	text := string(tables(10_000, func(i int) string { return fmt.Sprintf("hosts = [\"host-%d.example.org\"]", i) }))
	require.Greater(t, len(text), 2*pieceSize)
	lines := strings.Split(text, "\n")
	lines[29_001] = "hosts = [www.example.org]"
	lines[29_007] = "colour"
	_, problems := Load("rules.toml", []byte(strings.Join(lines, "\n")), testEnv(t))
	require.Len(t, problems, 2)
	require.Equal(t, []int{29_002, 10}, []int{problems[0].Line, problems[0].Column})
	require.Equal(t, []int{29_008, 7}, []int{problems[1].Line, problems[1].Column})
}

// A file of one line costs no more for each problem than one of many.
func TestColumnsOfALongLineAreThoseOfItsCharacters(t *testing.T) {
	for _, item := range []string{`{name="a/b",host="x"},`, `{name="é",host="ü"},`} {
		text := "allow=[" + strings.Repeat(item, 1_500) + "]"
		_, problems := Load("rules.toml", []byte(text), testEnv(t))
		require.Greater(t, len(problems), mostTold)
		for _, p := range problems[2:] {
			require.Equal(t, 1, p.Line)
			require.Contains(t, `"h`, string([]rune(text)[p.Column-1]), p.Message)
			require.Empty(t, p.Source)
		}
	}
	l := newLines(strings.Repeat("aé", 10_000))
	for _, offset := range []int{0, 1, block, block + 2, 3*block - 1, 30_000} {
		require.Equal(t, beginnings(l.text[:offset]), l.chars(0, offset))
	}
	require.Len(t, l.counted, 30_000/block+1, "counted once, block by block")
}
