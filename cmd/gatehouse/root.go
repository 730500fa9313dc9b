package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// The exit codes of all commands.
const (
	exitOK     = 0
	exitNo     = 1 // denied, not taken, has errors, does not answer
	exitBroken = 2 // the question could not be asked
)

// exit ends a command with a code; what there was to say has been said.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// execute runs one command line and gives its exit code.
func execute(args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.Execute()
	var code exit
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &code):
		return int(code)
	}
	fmt.Fprintf(stderr, "gatehouse: %v\n", err)
	if strings.HasPrefix(err.Error(), "unknown command") && !strings.Contains(err.Error(), "; see: ") {
		fmt.Fprintln(stderr, "see: gatehouse --help")
	}
	return exitBroken
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "gatehouse",
		Short: "an allowlisting gateway for the servers and devices of a school",
		Long: `gatehouse stands at a school's edge: an allowlisting HTTP and CONNECT proxy and a
DNS filter, both driven by one rules.toml, with Prometheus counts of what was
allowed and denied. "gatehouse run" starts it with built-in defaults on loopback.`,
		SilenceUsage: true, SilenceErrors: true,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w; see: %s --help", err, c.CommandPath())
	})
	root.AddCommand(extra()...)
	root.AddCommand(newInit(), newRun(), newReload(), newApply(), newConfirm(), newRevert(), newCheck(), newFmt(), newExplain(), newPacks(), newReview(), newReplay(), newBackup(), newRestore(), newDoctor(), newAlarm(), newPAC(), newNft(), newAzure(), newCA(), newHealthcheck(), newVersion())
	hint(root)
	return root
}

// hint has every complaint about arguments, in c and below it, end with where to
// read on.
func hint(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return fmt.Errorf("%w; see: %s --help", err, c.CommandPath())
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		hint(sub)
	}
}
