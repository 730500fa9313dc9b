//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/appliance"
)

type doctorFlags struct {
	fileFlags
	json, ticket bool
	script       bool
	appliance.Examination
}

func newDoctor() *cobra.Command {
	var f doctorFlags
	c := &cobra.Command{
		Use:   "doctor [--ticket [FILE]]",
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

With --ticket, what was found about the packs is told in one text to be sent to
their vendor, together with what was refused to their hosts: to standard output,
or into a new FILE that only you can read. It holds no query strings, logins,
header values, contents or keys; the school's own addresses and names are
numbered.

With --script nothing is tried: a script for Windows PowerShell 5.1 is printed that
tries the same from the server with the agents (names, proxy settings, TCP, TLS and
who issued it, a page through the gate, the clock) and changes nothing there.
Exit code: 0 nothing failed (or the ticket was written), 1 something failed, 2 error.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if f.ticket {
				return cobra.MaximumNArgs(1)(cmd, args)
			}
			return cobra.NoArgs(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.Idle < 0 || f.Idle > appliance.MostIdle {
				return fmt.Errorf("--idle: %s is not between 0 and %s", f.Idle, appliance.MostIdle)
			}
			switch {
			case f.ticket:
				return runTicket(cmd, f, args)
			case f.script:
				return printScript(cmd, f)
			}
			return runDoctor(cmd, f)
		},
	}
	f.flags(c)
	c.Flags().StringVar(&f.Pack, "pack", "", "try one pack only")
	c.Flags().BoolVar(&f.Active, "active", false, "send POSTs without content too: with a length, in chunks, and with Expect: 100-continue")
	c.Flags().DurationVar(&f.Idle, "idle", 0, "leave a tunnel alone for so long, and see whether it lives (at most 15m)")
	c.Flags().BoolVar(&f.json, "json", false, "print JSON")
	c.Flags().BoolVar(&f.ticket, "ticket", false, "write what a vendor should know, with nothing private in it")
	c.Flags().BoolVar(&f.script, "script", false, "print a PowerShell script for the server with the agents")
	c.MarkFlagsMutuallyExclusive("json", "ticket", "script")
	return c
}

func runDoctor(cmd *cobra.Command, f doctorFlags) error {
	var report appliance.Report
	err := f.ask(cmd, func(c *appliance.Control) (err error) {
		report, err = c.Doctor(cmd.Context(), f.Examination)
		return err
	}, func(h *held) (err error) {
		report, err = appliance.Examine(cmd.Context(), h.files, h.config, h.loaded, f.Examination)
		return err
	})
	if err != nil {
		return err
	}
	if f.json {
		err = printJSON(cmd, report)
	} else {
		_, err = fmt.Fprint(cmd.OutOrStdout(), report)
	}
	if err == nil && report.Failed() {
		return exit(exitNo)
	}
	return err
}

func runTicket(cmd *cobra.Command, f doctorFlags, args []string) error {
	out := cmd.OutOrStdout()
	if len(args) > 0 {
		// Before anything is tried, which takes a while.
		file, err := os.OpenFile(args[0], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return fmt.Errorf("--ticket: %w; name a new file in a folder that you may write to", err)
		}
		defer file.Close()
		out = file
	}
	var text string
	err := f.ask(cmd, func(c *appliance.Control) (err error) {
		text, err = c.Ticket(cmd.Context(), f.Examination)
		return err
	}, func(h *held) (err error) {
		text, err = appliance.Ticket(cmd.Context(), h.files, h.config, h.loaded, f.Examination, build())
		return err
	})
	if err == nil {
		_, err = io.WriteString(out, text)
	}
	if len(args) == 0 {
		return err
	}
	if err != nil {
		os.Remove(args[0]) // an empty ticket is none
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "wrote %s; read it before you send it\n", args[0])
	return nil
}

// printScript goes by the files: the script is for another machine, and another
// day.
func printScript(cmd *cobra.Command, f doctorFlags) error {
	h, err := f.load(cmd)
	if err != nil {
		return err
	}
	text, err := h.config.WindowsScript(h.loaded.Policy, f.Pack, build(), time.Now())
	if err == nil {
		_, err = io.WriteString(cmd.OutOrStdout(), text)
	}
	return err
}

// ask asks the running gate or, where rules are named or none runs, lets this
// process do it.
func (f doctorFlags) ask(cmd *cobra.Command, running func(*appliance.Control) error, here func(*held) error) error {
	if f.rules == "" {
		control, err := connect(cmd, f.config)
		if err != nil {
			return err
		}
		if err := running(control); !errors.Is(err, appliance.ErrNotRunning) {
			return err
		}
	}
	h, err := f.load(cmd)
	if err != nil {
		return err
	}
	return here(h)
}
