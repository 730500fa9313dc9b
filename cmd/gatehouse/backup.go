//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"gatehouse/appliance"
	"gatehouse/internal/wholefile"
)

type keepFlags struct {
	fileFlags
	secrets, check bool
}

func newBackup() *cobra.Command {
	var f keepFlags
	c := &cobra.Command{
		Use:   "backup FILE|-",
		Short: "write everything that makes this gate what it is to one file",
		Long: `backup writes rules.toml, gatehouse.toml, the password files beside the rules, the
Azure service tags and the history to one zip file (- is standard output). Keys
and passwords are not in it, unless --secrets: then also private keys, the inspection
CA, the passwords of parent proxies, the webhook and the web configuration. What cannot be in it is
said. The same state gives the same file.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runBackup(cmd, f, args[0]) },
	}
	f.flags(c)
	c.Flags().BoolVar(&f.secrets, "secrets", false, "with keys and passwords: keep such a file locked away")
	return c
}

func newRestore() *cobra.Command {
	var f keepFlags
	c := &cobra.Command{
		Use:   "restore FILE|-",
		Short: "put a backup back",
		Long: `restore checks the configuration and the rules of a backup as "gatehouse check"
does, tests and all, says in words what changes, and puts everything back, or
nothing where something is wrong. A running gate takes the rules at once, and the
configuration when it is started again. With --check nothing is changed. Exit
code: 0 put back, or could be; 1 it may not be put back; 2 error.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runRestore(cmd, f, args[0]) },
	}
	f.flags(c)
	c.Flags().BoolVar(&f.check, "check", false, "say what would change, and change nothing")
	return c
}

func runBackup(cmd *cobra.Command, f keepFlags, to string) error {
	files, config, err := f.settings(cmd)
	if err != nil {
		return err
	}
	text, notes, err := appliance.TakeBackup(files, config, build().Version, f.secrets)
	if err != nil {
		return err
	}
	for _, n := range notes {
		fmt.Fprintf(cmd.ErrOrStderr(), "gatehouse: %s\n", n)
	}
	if to == "-" {
		_, err = cmd.OutOrStdout().Write(text)
		return err
	}
	if err := writePrivate(to, text); err != nil {
		return fmt.Errorf("%w; name a file in a folder that you may write to", err)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: %d bytes\n", to, len(text))
	return nil
}

// writePrivate replaces a file by one that its owner alone can read. What is no plain
// file is written to as it is.
func writePrivate(path string, text []byte) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return os.WriteFile(path, text, 0o600)
	}
	if real, err := filepath.EvalSymlinks(path); err == nil { // a link stays one
		path = real
	}
	return wholefile.Replace(path, text, nil)
}

func runRestore(cmd *cobra.Command, f keepFlags, from string) error {
	text, err := readArgument(cmd, from)
	if err != nil {
		return err
	}
	files, config, err := f.settings(cmd)
	if err != nil {
		return err
	}
	r, err := appliance.ReadRestore(files, config, text, false)
	if err != nil {
		return fmt.Errorf("%s: %w; name a file that gatehouse backup has written", from, err)
	}
	for _, p := range r.Problems {
		fmt.Fprintln(cmd.ErrOrStderr(), p)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(cmd.ErrOrStderr(), "gatehouse: %s\n", n)
	}
	for _, w := range r.Words {
		fmt.Fprintln(cmd.OutOrStdout(), w)
	}
	switch {
	case !r.Allowed():
		fmt.Fprintln(cmd.ErrOrStderr(), "gatehouse: nothing is put back")
		return exit(exitNo)
	case f.check:
		return nil
	case len(r.Words) == 0:
		fmt.Fprintln(cmd.OutOrStdout(), "everything is as in the backup already")
		return nil
	}
	words, err := r.Here(cmd.Context())
	if err != nil {
		return err
	}
	fmt.Fprint(cmd.OutOrStdout(), words)
	return nil
}
