package rules

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/require"

	"gatehouse/policy"
)

// testdata/repair.txtar holds pairs of files: as written, and repaired.
func TestRepair(t *testing.T) {
	archive, err := txtar.ParseFile("testdata/repair.txtar")
	require.NoError(t, err)
	for i := 0; i < len(archive.Files); i += 2 {
		written, want := archive.Files[i], archive.Files[i+1]
		t.Run(written.Name, func(t *testing.T) {
			got, problems := Format("rules.toml", written.Data, true)
			require.Empty(t, problems)
			require.Equal(t, string(want.Data), string(got))
			again, _ := Format("rules.toml", got, true)
			require.Equal(t, string(got), string(again), "repairing twice changes nothing")
		})
	}
}

func TestNotepadsEncodingsAreRepaired(t *testing.T) {
	want := "version = 1\r\n"
	for name, text := range map[string]string{
		"UTF-8 with a byte order mark": "\xef\xbb\xbfversion = 1\r\n",
		"UTF-16 little endian":         "\xff\xfev\x00e\x00r\x00s\x00i\x00o\x00n\x00 \x00=\x00 \x001\x00\r\x00\n\x00",
		"UTF-16 big endian":            "\xfe\xff\x00v\x00e\x00r\x00s\x00i\x00o\x00n\x00 \x00=\x00 \x001\x00\r\x00\n",
	} {
		t.Run(name, func(t *testing.T) {
			got, problems := Format("rules.toml", []byte(text), true)
			require.Empty(t, problems)
			require.Equal(t, want, string(got))
		})
	}
	got, _ := Format("rules.toml", []byte("\xef\xbb\xbfversion=1"), false)
	require.Equal(t, "\xef\xbb\xbfversion = 1\n", string(got), "without repair the mark stays")
	_, problems := Format("rules.toml", []byte("name = \"Ren\xe9\"\n"), true)
	require.Equal(t, "GH002", problems[0].Code, "what \"ANSI\" meant is a guess")
}

func TestWhatWouldBeAGuessIsNotRepaired(t *testing.T) {
	for name, text := range map[string]string{
		"where a text ends":              "version = 1\nmode = \"enforce\n",
		"which of two days is meant":     "monitor_until = 03/04/2027\n",
		"a key that stands twice":        "version = 1\nversion = 1\n",
		"a list that nobody ended":       "[[allow]]\nhosts = [\"a\"\n",
		"a zero in front of a number":    "version = 01\n",
		"quotes in the middle of a text": "mode = \"the \"best\" board\"\n",
	} {
		t.Run(name, func(t *testing.T) {
			got, problems := Format("rules.toml", []byte(text), true)
			require.Nil(t, got)
			require.Len(t, problems, 1)
		})
	}
}

func TestThePacksStandInNormalForm(t *testing.T) {
	files := append(Packs(), Pack{Name: "default", Text: Default()})
	for _, p := range files {
		got, problems := Format(p.Name, p.Text, true)
		require.Empty(t, problems)
		if *update && p.Name != "default" {
			require.NoError(t, os.WriteFile(filepath.Join("packs", p.Name+".toml"), got, 0o644))
			continue
		}
		require.Equal(t, string(p.Text), string(got))
	}
}

func FuzzFormatKeepsTheRules(f *testing.F) {
	for _, pattern := range []string{"testdata/bad/*.toml", "packs/*.toml", "testdata/ten/*.toml"} {
		files, err := filepath.Glob(pattern)
		require.NoError(f, err)
		for _, path := range files {
			text, err := os.ReadFile(path)
			require.NoError(f, err)
			f.Add(text)
		}
	}
	archive, err := txtar.ParseFile("testdata/repair.txtar")
	require.NoError(f, err)
	for _, file := range archive.Files {
		f.Add(file.Data)
	}
	env := testEnv(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		before, _ := Load("rules.toml", text, env)
		for _, repair := range []bool{false, true} {
			once, problems := Format("rules.toml", text, repair)
			require.Equal(t, once == nil, len(problems) > 0)
			if once == nil {
				require.Nil(t, before, "what may be loaded can be formatted")
				continue
			}
			twice, _ := Format("rules.toml", once, repair)
			require.Equal(t, string(once), string(twice))
			after, problems := Load("rules.toml", once, env)
			if before == nil {
				require.True(t, repair || after == nil, "what may not be loaded is not made so without repair")
				continue
			}
			require.NotNil(t, after, "%v", problems)
			require.Equal(t, ruleWords(before), ruleWords(after))
			require.Equal(t, before.Mode, after.Mode)
		}
	})
}

// ruleWords are the rules in words, without their places in the file.
func ruleWords(l *Loaded) []string {
	var all []string
	for _, r := range l.Policy.Rules() {
		var b strings.Builder
		b.WriteString(kind(r) + " " + r.Name + " " + r.Owner + " " + r.Because)
		same := *r // a URL that says the rule's own port says the host
		same.Hosts = slices.Clone(r.Hosts)
		for i, h := range same.Hosts {
			if slices.Equal(r.Ports, []policy.PortRange{{First: h.Port, Last: h.Port}}) {
				same.Hosts[i].Port = 0
			}
		}
		for _, c := range clauses(&same) {
			b.WriteString(" | " + c.name + ": " + strings.Join(c.items, ", "))
		}
		b.WriteString(" | defaults: ")
		if r.Addresses.Default {
			b.WriteString("address ")
		}
		if r.Upgrades == nil {
			b.WriteString("upgrade ")
		}
		all = append(all, b.String())
	}
	return all
}
