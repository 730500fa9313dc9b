package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

func newHealthcheck() *cobra.Command {
	var config string
	c := &cobra.Command{
		Use:   "healthcheck",
		Short: "say whether the gate of this machine answers",
		Long: `healthcheck asks /healthz of the gate that runs with this configuration. It is
for containers and load balancers. Exit code: 0 it answers, 1 it does not.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return healthcheck(cmd, config) },
	}
	configFlag(c, &config)
	return c
}

func healthcheck(cmd *cobra.Command, configFile string) error {
	_, config, err := fileFlags{config: configFile}.settings(cmd)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 3*time.Second)
	defer cancel()
	if err := config.Healthy(ctx); err != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "gatehouse: %v\n", err)
		return exit(exitNo)
	}
	fmt.Fprintln(cmd.OutOrStdout(), "ok")
	return nil
}
