package main

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"
)

//go:embed starter/*.toml
var starter embed.FS

func newInit() *cobra.Command {
	return &cobra.Command{
		Use:   "init [DIR]",
		Short: "write a gatehouse.toml and a rules.toml to start from",
		Long: `init writes gatehouse.toml and rules.toml, with comments, into DIR (default: this
folder): a block for each product, in which only addresses are to be filled in.
It never overwrites a file.
Exit code: 0 written, 1 both are there already, 2 could not be written.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) > 0 {
				dir = args[0]
			}
			return begin(cmd, dir)
		},
	}
}

func begin(cmd *cobra.Command, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("init: %w; name a folder that you may write to", err)
	}
	written := 0
	for _, name := range []string{"gatehouse.toml", "rules.toml"} {
		path := filepath.Join(dir, name)
		switch err := writeStarter(path, name); {
		case errors.Is(err, fs.ErrExist):
			fmt.Fprintf(cmd.OutOrStdout(), "%s is there already and stays as it is\n", path)
		case err != nil:
			return fmt.Errorf("init: %w; name a folder that you may write to", err)
		default:
			fmt.Fprintf(cmd.OutOrStdout(), "wrote %s\n", path)
			written++
		}
	}
	if written == 0 {
		return exit(exitNo)
	}
	fmt.Fprintf(cmd.OutOrStdout(), `
next:
  1. put the addresses of your machines into %[2]s
  2. gatehouse check %[2]s
  3. gatehouse run --config %[1]s
`, filepath.Join(dir, "gatehouse.toml"), filepath.Join(dir, "rules.toml"))
	return nil
}

// writeStarter writes a new file; one that is there is left alone. On Windows its
// lines end as Notepad ends them.
func writeStarter(path, name string) error {
	text, err := starter.ReadFile("starter/" + name)
	if err != nil {
		return err
	}
	if runtime.GOOS == "windows" {
		text = []byte(strings.ReplaceAll(string(text), "\n", "\r\n"))
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}
