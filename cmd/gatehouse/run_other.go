//go:build !linux

package main

import (
	"errors"
	"runtime"

	"github.com/spf13/cobra"
)

// newRun says where the gate itself runs: what checks and explains the rules
// works on an admin's own machine as well.
func newRun() *cobra.Command {
	var config, rulesFile string
	c := &cobra.Command{
		Use:   "run",
		Short: "run the gate (on Linux)",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return errors.New("run is for Linux: it was built for " + runtime.GOOS +
				"; here you can write and check the rules: init, check, fmt, explain, packs, review")
		},
	}
	configFlag(c, &config)
	rulesFlag(c, &rulesFile)
	return c
}
