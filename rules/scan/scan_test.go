package scan

import (
	"errors"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/stretchr/testify/require"
)

func FuzzEveryDocumentTheDecoderAcceptsIsScannedAlike(f *testing.F) {
	for _, seed := range []string{
		"", "a = 1", "\"a.b\" . 'c' = \"x\" # note\n", "[[a]]\nb = [1, [2, {c = 3}],]\n[a.d]\ne = 1979-05-27 07:32:00\n[[a]]\n",
		"[x.y]\n[x]\nz = \"\"\"a\\\"\"\"\"\"\"\nq = '''b''''\n", "a = {\n b = 1, # c\n c.d = 2,\n}\r\n", "\"\\u00e4\\x41\\e\" = true\n",
		"[[allow]]\nname = \"x\"\ntypes = { \"*.csv\" = \"text/csv\", \"*\" = [\"a/b\"] }\n", "a.b.c = 1\na.b.d = 2\n[e]\na.b = []\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		keys, values, ok := accepted(text)
		if !ok {
			_, _ = Scan(text)
			return
		}
		var met [][]string
		doc, err := scan(text, func(path []string) { met = append(met, path) })
		var given *Error
		if errors.As(err, &given) && given.Deep {
			return
		}
		require.NoError(t, err)
		require.Len(t, met, len(keys))
		for i, k := range keys {
			require.Equal(t, []string(k), met[i])
		}
		same(t, doc.Root, values)
	})
}

// accepted asks the decoder; what makes it panic it has not accepted.
func accepted(text string) (keys []toml.Key, values map[string]any, ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	if text != "" && text[0] >= 0xef { // byte order marks are the caller's
		return nil, nil, false
	}
	md, err := toml.Decode(text, &values)
	return md.Keys(), values, err == nil
}

// same holds the shape of a node to the value the decoder gave.
func same(t *testing.T, n *Node, value any) {
	t.Helper()
	switch v := value.(type) {
	case map[string]any:
		require.Equal(t, Table, n.Kind)
		require.Len(t, n.Fields, len(v))
		for _, f := range n.Fields {
			require.Contains(t, v, f.Name)
			same(t, f.Value, v[f.Name])
		}
	case []map[string]any:
		require.Equal(t, Array, n.Kind)
		require.Len(t, n.Items, len(v))
		for i := range v {
			same(t, n.Items[i], v[i])
		}
	case []any:
		require.Equal(t, Array, n.Kind)
		require.Len(t, n.Items, len(v))
		for i := range v {
			same(t, n.Items[i], v[i])
		}
	default:
		require.Equal(t, Leaf, n.Kind)
	}
}

func TestSpans(t *testing.T) {
	const text = "mode = \"enforce\" # c\n[[allow]]\nhosts = [ \"a\",\n  'b' ]\n[allow.types]\n\"*.csv\" = 1979-05-27 07:32:00 \n"
	doc, err := Scan(text)
	require.NoError(t, err)
	at := func(start, end int32) string { return text[start:end] }

	mode, _ := doc.Root.Field("mode")
	require.Equal(t, "mode", at(mode.Start, mode.End))
	require.Equal(t, `"enforce"`, at(mode.Value.Start, mode.Value.End))
	allow, _ := doc.Root.Field("allow")
	table := allow.Value.Items[0]
	require.Equal(t, "[[allow]]", at(table.Start, table.End))
	hosts, _ := table.Field("hosts")
	require.Equal(t, `'b'`, at(hosts.Value.Items[1].Start, hosts.Value.Items[1].End))
	types, _ := table.Field("types")
	csv, ok := types.Value.Field("*.csv")
	require.True(t, ok)
	require.Equal(t, "1979-05-27 07:32:00", at(csv.Value.Start, csv.Value.End))
	require.Len(t, doc.Statements, 5)
}

func TestWhatIsNestedTooDeepIsLeftAlone(t *testing.T) {
	for name, text := range map[string]string{
		"lists":         "a = " + strings.Repeat("[", 1<<20),
		"inline tables": "a = " + strings.Repeat("{a=", 1<<20),
		"a dotted key":  "a" + strings.Repeat(".a", 1<<20) + " = 1",
		"a header":      "[a" + strings.Repeat(".a", 1<<20) + "]",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Scan(text)
			var given *Error
			require.ErrorAs(t, err, &given)
			require.True(t, given.Deep)
		})
	}
	_, err := Scan("a = " + strings.Repeat("[", MaxDepth-1) + strings.Repeat("]", MaxDepth-1))
	require.NoError(t, err)
}
