package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/appliance"
)

func newApply() *cobra.Command {
	var config string
	c := &cobra.Command{
		Use:   "apply FILE|-",
		Short: "have the running gate put a rules file in force, on trial for ten minutes",
		Long: `apply sends a rules file (- is standard input) to the running gate, which checks
it, runs its tests and says what changes and what it would have decided otherwise
about past decisions. Then the file takes the place of the present one for ten
minutes: "gatehouse confirm" keeps it, "gatehouse revert" takes it back, and if
nobody does either the file of before comes back by itself. Exit code: 0 on trial,
1 not taken or no gate is running, 2 error.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return apply(cmd, config, args[0]) },
	}
	configFlag(c, &config)
	return c
}

func newConfirm() *cobra.Command {
	return trialEnd("confirm", "keep the rules that are on trial", "the rules are kept", (*appliance.Control).Confirm)
}

func newRevert() *cobra.Command {
	return trialEnd("revert", "take the rules that are on trial back", "the file of before is back in force", (*appliance.Control).Revert)
}

func trialEnd(name, short, done string, end func(*appliance.Control, context.Context) error) *cobra.Command {
	var config string
	c := &cobra.Command{
		Use: name, Short: short, Args: cobra.NoArgs,
		Long: short + `: those that "gatehouse apply" or the console
put in force. Exit code: 0 done, 1 nothing is on trial or no gate is running.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			control, err := connect(cmd, config)
			if err != nil {
				return err
			}
			return refusedOrSay(cmd, end(control, cmd.Context()), done)
		},
	}
	configFlag(c, &config)
	return c
}

// refusedOrSay ends a command to which the gate said no, or says what is done.
func refusedOrSay(cmd *cobra.Command, err error, done string) error {
	if err != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "gatehouse: %v\n", err)
		return exit(exitNo)
	}
	fmt.Fprintln(cmd.OutOrStdout(), done)
	return nil
}

func apply(cmd *cobra.Command, config, file string) error {
	text, err := readArgument(cmd, file)
	if err != nil {
		return err
	}
	control, err := connect(cmd, config)
	if err != nil {
		return err
	}
	d, err := control.Check(cmd.Context(), text)
	if err != nil {
		return refusedOrSay(cmd, err, "")
	}
	for _, p := range d.Problems {
		fmt.Fprintln(cmd.ErrOrStderr(), p)
	}
	if !d.Loadable {
		return refusedOrSay(cmd, errors.New("the file cannot be loaded; the rules in force stay"), "")
	}
	for _, c := range d.Changes {
		fmt.Fprintln(cmd.OutOrStdout(), c)
	}
	fmt.Fprint(cmd.OutOrStdout(), d.Replay)
	trial, err := control.Apply(cmd.Context(), text)
	return refusedOrSay(cmd, err, "in force on trial until "+trial.Until.Format(time.TimeOnly)+"; keep it: gatehouse confirm; take it back: gatehouse revert")
}

// readArgument reads the file that an argument names; "-" is standard input.
func readArgument(cmd *cobra.Command, name string) ([]byte, error) {
	const most = 64 << 20
	in := cmd.InOrStdin()
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("%w; name a file that can be read, or - for standard input", err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, most+1))
	if err == nil && len(text) > most {
		err = fmt.Errorf("%s is larger than %d MiB; is it the right file?", name, most>>20)
	}
	return text, err
}
