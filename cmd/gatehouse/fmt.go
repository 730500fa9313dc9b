package main

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"gatehouse/internal/wholefile"
	"gatehouse/rules"
)

type fmtFlags struct{ fix, check bool }

func newFmt() *cobra.Command {
	var f fmtFlags
	c := &cobra.Command{
		Use:   "fmt FILE...",
		Short: "put a rules file into its normal form",
		Long: `fmt rewrites rules files (and gatehouse.toml) in place in their normal form. Only
white space changes: every comment and every blank line stays. FILE "-" reads
standard input and writes standard output.

With --fix it also repairs what is safe to repair: a byte order mark, UTF-16,
typographic quotes, missing quotes around words, missing brackets, pasted URLs,
dates in quotes, the order of the keys in a table. What would be a guess is left
and told; then the file is not touched.
Exit code: 0 done, 1 cannot be formatted, or --check found something to change,
2 could not be read or written.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return format(cmd, f, args) },
	}
	c.Flags().BoolVar(&f.fix, "fix", false, "repair what is safe to repair")
	c.Flags().BoolVar(&f.check, "check", false, "change nothing; exit 1 if something would change")
	return c
}

func format(cmd *cobra.Command, f fmtFlags, files []string) error {
	failed := false
	for _, file := range files {
		done, err := formatFile(cmd, f, file)
		if err != nil {
			return err
		}
		failed = failed || !done
	}
	if failed {
		return exit(exitNo)
	}
	return nil
}

// formatFile formats one file; done is false where it cannot be formatted, or
// must not and would change.
func formatFile(cmd *cobra.Command, f fmtFlags, file string) (done bool, err error) {
	text, err := readFile(cmd, file)
	if err != nil {
		return false, fmt.Errorf("fmt: %w; name a file that can be read", err)
	}
	name := file
	if file == "-" {
		name = "standard input"
	}
	formatted, problems := rules.Format(name, text, f.fix)
	if formatted == nil {
		if err := rules.Render(cmd.ErrOrStderr(), problems); err != nil {
			return false, err
		}
		hint := "repair this, then format it again"
		if repaired, _ := rules.Format(name, text, true); repaired != nil {
			hint = "gatehouse fmt --fix " + file + " repairs this"
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "\n%s is left as it is; %s\n", name, hint)
		return false, nil
	}
	changed := !bytes.Equal(text, formatted)
	switch {
	case f.check && changed:
		fmt.Fprintf(cmd.OutOrStdout(), "%s: not in normal form; put it there: gatehouse fmt %s\n", file, f.words(file))
		return false, nil
	case f.check:
		return true, nil
	case file == "-":
		_, err = cmd.OutOrStdout().Write(formatted)
		return true, err
	case !changed:
		return true, nil
	}
	// A running gate takes it once its bytes rest.
	if err := wholefile.Rewrite(file, formatted); err != nil {
		return false, fmt.Errorf("fmt: %w; the file must be writable for you", err)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: rewritten\n", file)
	return true, nil
}

func (f fmtFlags) words(file string) string {
	if f.fix {
		return "--fix " + file
	}
	return file
}

func readFile(cmd *cobra.Command, file string) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(cmd.InOrStdin())
	}
	return os.ReadFile(file)
}
