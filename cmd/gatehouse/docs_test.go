package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write docs/commands.md anew")

const commandsPath = "../../docs/commands.md"

// TestTheDocumentedCommandsAreTheCommands holds docs/commands.md to what --help
// says, so that no command and no flag lacks from it.
func TestTheDocumentedCommandsAreTheCommands(t *testing.T) {
	text, err := os.ReadFile(commandsPath)
	require.NoError(t, err)
	head, _, _ := strings.Cut(string(text), "## ")
	var b bytes.Buffer
	b.WriteString(head)
	helpTexts(t, newRoot(), &b)
	if *update {
		require.NoError(t, os.WriteFile(commandsPath, b.Bytes(), 0o644))
		return
	}
	require.Equal(t, b.String(), string(text), "write it anew: go test ./cmd/gatehouse -run Documented -update")
}

// helpTexts writes what --help says of each command below c that is not hidden.
func helpTexts(t *testing.T, c *cobra.Command, into *bytes.Buffer) {
	for _, sub := range c.Commands() {
		if !sub.IsAvailableCommand() {
			continue
		}
		var help bytes.Buffer
		words := strings.Fields(sub.CommandPath())
		require.Equal(t, exitOK, execute(append(words[1:], "--help"), &help, &help))
		fmt.Fprintf(into, "## %s\n\n```\n%s\n```\n\n", sub.CommandPath(), strings.TrimSpace(help.String()))
		helpTexts(t, sub, into)
	}
}
