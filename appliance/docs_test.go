package appliance

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/servicetags"
	"gatehouse/rules"
)

var (
	tomlBlock    = regexp.MustCompile("(?ms)^ *```toml\n(.*?)^ *```") // indented, it stands in a list
	rulesVersion = regexp.MustCompile(`(?m)^ *version\s*=`)
)

// TestEveryTOMLBlockOfTheDocumentationLoads takes a block that says a version for
// a rules file, every other for a gatehouse.toml.
func TestEveryTOMLBlockOfTheDocumentationLoads(t *testing.T) {
	pages := []string{"../README.md"} // docs/rules.md is held by package rules as well
	for _, pattern := range []string{"../docs/*.md", "../docs/*/*.md"} {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		pages = append(pages, found...)
	}
	configs := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, block := range tomlBlock.FindAllStringSubmatch(string(text), -1) {
			if rulesVersion.MatchString(block[1]) {
				env := rules.Env{Now: time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC), Tags: servicetags.Builtin()}
				env.ReadFile = func(string) ([]byte, error) {
					return []byte("ann:$2y$04$Q2a7fwo5Haz1izNKrtBnre4LUsTpzVvkSWpjDVqEqkqf5VdEpX3ma\n"), nil
				}
				_, problems := rules.Load(page, []byte(block[1]), env)
				require.False(t, rules.HasErrors(problems), "%s\n%v", block[1], problems)
				continue
			}
			_, problems := ParseConfig(page, []byte(block[1]))
			require.Empty(t, problems, "%s\n%v", block[1], problems)
			configs++
		}
	}
	require.GreaterOrEqual(t, configs, 12)
}

func TestTheDocumentedDefaultsAreTheDefaults(t *testing.T) {
	text, err := os.ReadFile("../docs/operations.md")
	require.NoError(t, err)
	requireDefaults(t, "docs/operations.md", tomlBlock.FindStringSubmatch(string(text))[1])
}

// TestTheStarterOffersTheDefaults takes the "#" from the lines of the starter that
// say a default, but for the tables that are examples.
func TestTheStarterOffersTheDefaults(t *testing.T) {
	text, err := os.ReadFile("../cmd/gatehouse/starter/gatehouse.toml")
	require.NoError(t, err)
	examples := regexp.MustCompile(`(?m)^# \[\[.*\n(# .+\n)+`)
	said := examples.ReplaceAllString(string(text), "")
	said = regexp.MustCompile(`(?m)^# ([a-z_]+ *= )`).ReplaceAllString(said, "$1")
	said = regexp.MustCompile(`(?m)^timezone = .*`).ReplaceAllString(said, `timezone = ""`) // a school's is known
	requireDefaults(t, "the starter", said)
}

// requireDefaults demands that a gatehouse.toml names every key that is no list of
// tables, each with its default.
func requireDefaults(t *testing.T, where, text string) {
	t.Helper()
	var c Config
	at, problems := rules.Decode(where, []byte(text), &c)
	require.Empty(t, problems)
	eachKey(reflect.TypeFor[Config](), "", func(path string) {
		if path != "upstream" && path != "dns.host" && path != "dns.forward" {
			require.True(t, at.Has(path), "%s does not name %s", where, path)
		}
	})
	parsed, _ := ParseConfig("/etc/gatehouse/gatehouse.toml", []byte(text))
	want := DefaultConfig()
	for _, list := range []any{&parsed.Listen, &parsed.Clients, &parsed.DNS, &parsed.Addresses, &parsed.Firewall, &parsed.Alarm, &want.Listen, &want.Clients, &want.DNS, &want.Addresses, &want.Firewall, &want.Alarm} {
		dropEmptyLists(reflect.ValueOf(list).Elem())
	}
	require.Equal(t, &want, parsed)
}

// TestEveryKeyOfAListOfTablesIsDocumented looks for the keys of [[upstream]] and its
// like in the examples of the reference: the block of defaults cannot name them.
func TestEveryKeyOfAListOfTablesIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/operations.md")
	require.NoError(t, err)
	named := map[string]bool{}
	lists := map[string]reflect.Type{}
	eachField(reflect.TypeFor[Config](), "", func(path string, of reflect.Type) {
		if of.Kind() == reflect.Slice && of.Elem().Kind() == reflect.Struct && of.Elem().NumField() > 0 && of.Elem().Field(0).Tag.Get("toml") != "" {
			lists[path] = of.Elem()
		}
	})
	require.Len(t, lists, 3, "and each is among the exceptions of requireDefaults")
	for _, block := range tomlBlock.FindAllStringSubmatch(string(text), -1) {
		if rulesVersion.MatchString(block[1]) {
			continue
		}
		var c Config
		at, problems := rules.Decode("docs/operations.md", []byte(block[1]), &c)
		require.Empty(t, problems)
		for list, table := range lists {
			for i := range 8 {
				eachField(table, "", func(key string, _ reflect.Type) {
					if at.Has(fmt.Sprintf("%s[%d].%s", list, i, key)) {
						named[list+"."+key] = true
					}
				})
			}
		}
	}
	for list, table := range lists {
		eachField(table, "", func(key string, _ reflect.Type) {
			require.True(t, named[list+"."+key], "docs/operations.md does not show %s of [[%s]]", key, list)
		})
	}
}

func TestEveryCodeOfTheConfigurationIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/operations.md")
	require.NoError(t, err)
	for _, code := range []string{codeUnreadable, codeSetting, codeDoor, codeFault} {
		require.Contains(t, string(text), "| "+code+" | ")
	}
	for _, c := range rules.Codes() {
		require.NotContains(t, []string{codeUnreadable, codeSetting, codeDoor, codeFault}, c.ID)
	}
}
