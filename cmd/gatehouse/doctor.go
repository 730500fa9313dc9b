//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"gatehouse/appliance"
)

type doctorFlags struct {
	config, rules string
	json          bool
	appliance.Examination
}

func newDoctor() *cobra.Command {
	var f doctorFlags
	c := &cobra.Command{
		Use:   "doctor",
		Short: "try for real everything that the packs in use ask for",
		Long: `doctor tries, for each place that the rules in force permit, what a passage needs:
the rules, the name and its addresses, the connection, the certificate and who
issued it, a request; and the machine besides: DNS servers, disk, descriptors,
clock, the age of Azure's addresses. Each failure says what to do; what hangs on
it is not tried. Places are reached as the gate would reach them, through a parent
proxy where it goes through one. It sends nothing but a GET and, with --active,
POSTs without content, which show whether a hop on the way gathers requests before
it passes them on. With --idle a tunnel for each way out is left alone for so long,
and asked then whether it lives. The running gate is asked; where none runs, this
process tries it.
Exit code: 0 nothing failed, 1 something failed, 2 error.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDoctor(cmd, f) },
	}
	configFlag(c, &f.config)
	rulesFlag(c, &f.rules)
	c.Flags().StringVar(&f.Pack, "pack", "", "try one pack only")
	c.Flags().BoolVar(&f.Active, "active", false, "send POSTs without content too: with a length, in chunks, and with Expect: 100-continue")
	c.Flags().DurationVar(&f.Idle, "idle", 0, "leave a tunnel alone for so long, and see whether it lives (at most 15m)")
	c.Flags().BoolVar(&f.json, "json", false, "print JSON")
	return c
}

func runDoctor(cmd *cobra.Command, f doctorFlags) error {
	if f.Idle < 0 || f.Idle > appliance.MostIdle {
		return fmt.Errorf("--idle: %s is not between 0 and %s", f.Idle, appliance.MostIdle)
	}
	report, err := examine(cmd, f)
	if err != nil {
		return err
	}
	if f.json {
		enc := json.NewEncoder(cmd.OutOrStdout())
		enc.SetEscapeHTML(false)
		err = enc.Encode(report)
	} else {
		_, err = fmt.Fprint(cmd.OutOrStdout(), report)
	}
	if err == nil && report.Failed() {
		return exit(exitNo)
	}
	return err
}

// examine asks the running gate or, where rules are named or none runs, tries
// it in this process.
func examine(cmd *cobra.Command, f doctorFlags) (appliance.Report, error) {
	if f.rules == "" {
		control, err := connect(f.config, cmd.ErrOrStderr())
		if err != nil {
			return appliance.Report{}, err
		}
		report, err := control.Doctor(cmd.Context(), f.Examination)
		if !errors.Is(err, appliance.ErrNotRunning) {
			return report, err
		}
	}
	files, err := appliance.Locate(f.config, f.rules)
	if err != nil {
		return appliance.Report{}, err
	}
	config, err := readConfig(files, cmd.ErrOrStderr(), exitBroken)
	if err != nil {
		return appliance.Report{}, err
	}
	loaded, err := loadRules(cmd, files)
	if err != nil {
		return appliance.Report{}, err
	}
	return appliance.Examine(cmd.Context(), files, config, loaded, f.Examination)
}
