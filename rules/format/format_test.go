package format

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/require"
)

// testdata/format.txtar holds pairs of files: as written, and laid out.
func TestLayout(t *testing.T) {
	archive, err := txtar.ParseFile("testdata/format.txtar")
	require.NoError(t, err)
	for i := 0; i < len(archive.Files); i += 2 {
		written, want := archive.Files[i], archive.Files[i+1]
		t.Run(written.Name, func(t *testing.T) {
			require.Equal(t, string(want.Data), Format(string(written.Data)))
			require.Equal(t, string(want.Data), Format(string(want.Data)))
		})
	}
}

func TestLineEndsOfWindowsStay(t *testing.T) {
	require.Equal(t, "a = 1\r\n\r\nbc = 2\r\n", Format("a=1\r\n\r\nbc=2"))
	require.Equal(t, "# one\r\n\r\n[t]\r\n", Format("# one  \r\n\r\n [ t ]\r\n"))
}

func TestKeysAreSortedAndCommentsGoWithThem(t *testing.T) {
	order := map[string][]string{"allow": {"name", "hosts"}}
	written := "mode = 1\n# first\nversion = 1\n[[allow]]\nhosts = [\"b\"]\nother = 1\n# the name\nname = \"a\"\n# last\n\nlater = 2\nname = 3\n"
	sorted := "mode = 1\n# first\nversion = 1\n[[allow]]\n# the name\nname = \"a\"\nhosts = [\"b\"]\nother = 1\n# last\n\nname = 3\nlater = 2\n"
	require.Equal(t, sorted, Sort(written, func(table string) []string { return order[table] }))
}

func FuzzLayoutKeepsMeaningAndComments(f *testing.F) {
	archive, err := txtar.ParseFile("testdata/format.txtar")
	require.NoError(f, err)
	for _, file := range archive.Files {
		f.Add(string(file.Data))
	}
	f.Add("a = \"\"\"x\r\n y\"\"\" # c\r\n")
	f.Add("a . \"b c\" = [ [ 1,\n2 ],\n\n# c\n { x = 1 , y.z = 1979-05-27 07:32:00 } , ]\n")
	f.Fuzz(func(t *testing.T, text string) {
		before, ok := decode(text)
		if !ok {
			_ = Format(text)
			return
		}
		once := Format(text)
		after, ok := decode(once)
		require.True(t, ok, "%q", once)
		require.Equal(t, before, after)
		require.Equal(t, once, Format(once))
		require.Equal(t, comments(text), comments(once))
		require.GreaterOrEqual(t, blanks(once), blanks(text))

		sorted := Sort(text, func(string) []string { return []string{"c", "b", "a"} })
		after, ok = decode(sorted)
		require.True(t, ok, "%q", sorted)
		require.Equal(t, before, after)
		was, is := comments(text), comments(sorted)
		slices.Sort(was)
		slices.Sort(is)
		require.Equal(t, was, is)
	})
}

// decode asks the decoder; what makes it panic it has not accepted.
func decode(text string) (values map[string]any, ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	if strings.Contains(strings.ToLower(text), "nan") { // equal to nothing, itself included
		return nil, false
	}
	if text != "" && text[0] >= 0xef || !utf8.ValidString(text) { // byte order marks are the caller's
		return nil, false
	}
	_, err := toml.Decode(text, &values)
	return values, err == nil
}

func comments(text string) []string {
	var all []string
	for _, t := range cut(text) {
		if t.kind == comment {
			all = append(all, t.text)
		}
	}
	return all
}

func blanks(text string) int {
	n := 0
	for _, it := range items(cut(text)) {
		if it.kind == blank {
			n++
		}
	}
	return n
}
