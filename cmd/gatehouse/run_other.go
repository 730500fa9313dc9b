//go:build !linux

package main

import (
	"errors"
	"runtime"

	"github.com/spf13/cobra"
)

// newRun and newDoctor say where the gate itself runs: what checks and explains
// the rules works on an admin's own machine as well.
func newRun() *cobra.Command { return ofLinux("run", "run the gate") }

func newDoctor() *cobra.Command {
	return ofLinux("doctor", "try for real everything that the packs in use ask for")
}

func newBackup() *cobra.Command {
	return ofLinux("backup", "write everything that makes this gate what it is to one file")
}

func newRestore() *cobra.Command { return ofLinux("restore", "put a backup back") }

func ofLinux(name, does string) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: does + " (on Linux)", DisableFlagParsing: true,
		RunE: func(*cobra.Command, []string) error {
			return errors.New(name + " is for Linux: this gatehouse was built for " + runtime.GOOS +
				"; here you can write and check the rules: init, check, fmt, explain, packs, review, replay")
		},
	}
}
