package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/appliance"
)

func newReplay() *cobra.Command {
	var f fileFlags
	var asJSON bool
	c := &cobra.Command{
		Use:   "replay LOG…",
		Short: "say what the rules would have decided about passages of the past",
		Long: `replay reads decision logs (JSON, with the pieces they are rotated into; "-" is
standard input), asks the rules about each passage again, as of today, and tells
what would be decided otherwise: first what would be refused, the most frequent
first. Ask it before new rules are applied.
What no rules decide, or the log does not tell, is counted and not judged.
Exit code: 0 nothing would be decided otherwise, 1 something would, 2 error.`,
		Example: "  gatehouse replay --rules new.toml /var/log/gatehouse/decisions.log",
		Args:    cobra.MinimumNArgs(1),
		RunE:    func(cmd *cobra.Command, logs []string) error { return replay(cmd, f, logs, asJSON) },
	}
	f.flags(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func replay(cmd *cobra.Command, f fileFlags, logs []string, asJSON bool) error {
	h, err := f.load(cmd)
	if err != nil {
		return err
	}
	y := appliance.NewReplay(h.loaded.Policy, time.Now())
	reading := logReading{stdin: cmd.InOrStdin(), read: y.Read}
	if err := reading.all(logs); err != nil {
		return fmt.Errorf("%w; name decision logs that can be read", err)
	}
	y.Done()
	if asJSON {
		err = printJSON(cmd, y)
	} else {
		_, err = io.WriteString(cmd.OutOrStdout(), y.String())
	}
	if err == nil && len(y.Changes) > 0 {
		return exit(exitNo)
	}
	return err
}
