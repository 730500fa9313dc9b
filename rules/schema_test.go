package rules

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/stretchr/testify/require"
)

const schemaPath = "../docs/rules.schema.json"

func TestTheSchemaInTheDocsIsTheSchema(t *testing.T) {
	if *update {
		require.NoError(t, os.WriteFile(schemaPath, schemaText(), 0o644))
	}
	text, err := os.ReadFile(schemaPath)
	require.NoError(t, err)
	require.Equal(t, string(text), string(schemaText()))
}

func TestTheSchemaTakesWhatMayBeLoaded(t *testing.T) {
	var s map[string]any
	require.NoError(t, json.Unmarshal(schemaText(), &s))
	files := map[string]string{"default": string(Default()), "site": site, "review": reviewed}
	for _, p := range Packs() {
		files["pack "+p.Name] = string(p.Text)
	}
	docs, err := os.ReadFile(docsPath)
	require.NoError(t, err)
	for i, b := range tomlBlock.FindAllStringSubmatch(string(docs), -1) {
		files[fmt.Sprintf("example %d of the docs", i)] = b[1]
	}
	bad, err := filepath.Glob("testdata/bad/GH1*.toml")
	require.NoError(t, err)
	for _, path := range bad { // warnings only
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		files[path] = string(text)
	}
	for name, text := range files {
		if _, problems := Load(name, []byte(text), testEnv(t)); HasErrors(problems) {
			continue // needs settings of its own
		}
		var values map[string]any
		_, err := toml.Decode(strings.TrimPrefix(text, byteOrderMark), &values)
		require.NoError(t, err, name)
		require.Empty(t, against(s, values, ""), name)
	}
}

func TestTheSchemaRefusesWhatHasTheWrongForm(t *testing.T) {
	var s map[string]any
	require.NoError(t, json.Unmarshal(schemaText(), &s))
	for text, at := range map[string]string{
		"version = 1\nhost = 1":                                      "/host",
		"version = 2":                                                "/version",
		"mode = \"enforce\"":                                         "/version",
		"version = 1\nmode = \"of\"":                                 "/mode",
		"version = 1\n[[allow]]\nname = \"a\"":                       "/allow/hosts",
		"version = 1\n[[allow]]\nname = \"a\"\nhosts = []":           "/allow/hosts",
		"version = 1\n[[allow]]\nname = \"a\"\nhosts = 3":            "/allow/hosts",
		"version = 1\n[[deny]]\nname = \"a\"\nvia = \"relay\"":       "/deny/via",
		"version = 1\n[[allow]]\nname=\"a\"\nhosts=\"b\"\nports = 0": "/allow/ports",
	} {
		var values map[string]any
		_, err := toml.Decode(text, &values)
		require.NoError(t, err)
		require.Contains(t, against(s, values, ""), at, text)
	}
}

// against is a small reader of the parts of JSON schema that schemaText uses; it
// gives the places that do not fit.
func against(s map[string]any, value any, at string) []string {
	if options, ok := s["anyOf"].([]any); ok {
		for _, o := range options {
			if len(against(o.(map[string]any), value, at)) == 0 {
				return nil
			}
		}
		return []string{at}
	}
	if want, ok := s["const"]; ok && fmt.Sprint(want) != fmt.Sprint(value) {
		return []string{at}
	}
	if words, ok := s["enum"].([]any); ok && !slices.Contains(words, value) {
		return []string{at}
	}
	switch v := value.(type) {
	case map[string]any:
		return againstTable(s, v, at)
	case []map[string]any:
		items := make([]any, len(v))
		for i := range v {
			items[i] = v[i]
		}
		return againstList(s, items, at)
	case []any:
		return againstList(s, v, at)
	}
	kind := ""
	switch n := value.(type) {
	case string, time.Time:
		kind = "string"
	case bool:
		kind = "boolean"
	case int64:
		kind = "integer"
		if least, ok := s["minimum"].(float64); ok && float64(n) < least {
			return []string{at}
		}
	}
	if s["type"] != nil && !strings.Contains(fmt.Sprint(s["type"]), kind) {
		return []string{at}
	}
	return nil
}

func againstTable(s map[string]any, v map[string]any, at string) (bad []string) {
	if s["type"] != "object" {
		return []string{at}
	}
	known, _ := s["properties"].(map[string]any)
	for key, inner := range v {
		sub, ok := known[key].(map[string]any)
		if !ok {
			sub, ok = s["additionalProperties"].(map[string]any)
		}
		if !ok {
			bad = append(bad, at+"/"+key)
			continue
		}
		bad = append(bad, against(sub, inner, at+"/"+key)...)
	}
	required, _ := s["required"].([]any)
	for _, key := range required {
		if _, ok := v[key.(string)]; !ok {
			bad = append(bad, at+"/"+key.(string))
		}
	}
	return bad
}

func againstList(s map[string]any, items []any, at string) (bad []string) {
	least, _ := s["minItems"].(float64)
	if s["type"] != "array" || float64(len(items)) < least {
		return []string{at}
	}
	for _, item := range items {
		bad = append(bad, against(s["items"].(map[string]any), item, at)...)
	}
	return bad
}
