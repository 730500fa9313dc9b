package rules

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const docsPath = "../docs/rules.md"

// codeTable is the table of codes as docs/rules.md ends with it.
func codeTable() string {
	var b strings.Builder
	b.WriteString("| code | level | what | why |\n|---|---|---|---|\n")
	for _, c := range Codes() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", c.ID, c.Level, c.Title, strings.ReplaceAll(c.Why, "|", "\\|"))
	}
	return b.String()
}

func TestTheDocumentedCodesAreTheCodes(t *testing.T) {
	text, err := os.ReadFile(docsPath)
	require.NoError(t, err)
	head, _, _ := strings.Cut(string(text), "| code | level |")
	if *update {
		require.NoError(t, os.WriteFile(docsPath, []byte(head+codeTable()), 0o644))
		return
	}
	require.Equal(t, head+codeTable(), string(text))
}

var tomlBlock = regexp.MustCompile("(?s)```toml\n(.*?)```")

func TestEveryExampleOfTheDocsLoadsWithoutError(t *testing.T) {
	text, err := os.ReadFile(docsPath)
	require.NoError(t, err)
	blocks := tomlBlock.FindAllStringSubmatch(string(text), -1)
	require.Greater(t, len(blocks), 6)
	for _, b := range blocks {
		loaded, problems := Load("docs/rules.md", []byte(b[1]), testEnv(t))
		require.NotNil(t, loaded, "%s\n%v", b[1], problems)
	}
}

func TestTheDocsNameEveryKeyAndPack(t *testing.T) {
	text, err := os.ReadFile(docsPath)
	require.NoError(t, err)
	for _, p := range Packs() {
		require.Contains(t, string(text), "| `"+p.Name+"` |")
	}
	for _, key := range allKeys() {
		require.Contains(t, string(text), "`"+key+"`")
	}
}

func TestCodesAreInOrderAndUnique(t *testing.T) {
	last := ""
	for _, c := range Codes() {
		require.Greater(t, c.ID, last)
		require.NotEmpty(t, c.Title)
		require.NotEmpty(t, c.Why)
		require.Equal(t, c.ID >= "GH100", c.Level == Warning)
		last = c.ID
	}
}
