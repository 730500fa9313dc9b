package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/appliance"
)

func newReload() *cobra.Command {
	var config string
	var force bool
	c := &cobra.Command{
		Use:   "reload",
		Short: "have the running gate load its rules file again",
		Long: `reload asks the running gate, through the socket in its state.dir, to load its
rules file. It prints what changes, or what is wrong with the file; then the
rules in force stay. Exit code: 0 loaded, 1 not loaded or no gate is running.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return reload(cmd, config, force) },
	}
	configFlag(c, &config)
	c.Flags().BoolVar(&force, "force", false, "take the file even if it has lost more than half of its rules")
	return c
}

func reload(cmd *cobra.Command, configFile string, force bool) error {
	control, err := connect(cmd, configFile)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), time.Minute)
	defer cancel()
	taken, words, err := control.Reload(ctx, force)
	switch {
	case err != nil:
		fmt.Fprintf(cmd.ErrOrStderr(), "gatehouse: %v\n", err)
		return exit(exitNo)
	case !taken:
		fmt.Fprint(cmd.ErrOrStderr(), words)
		return exit(exitNo)
	}
	fmt.Fprint(cmd.OutOrStdout(), words)
	return nil
}

// connect finds the running gate by its configuration.
func connect(cmd *cobra.Command, configFile string) (*appliance.Control, error) {
	_, config, err := fileFlags{config: configFile}.settings(cmd)
	if err != nil {
		return nil, err
	}
	return appliance.NewControl(config.State.Dir), nil
}
