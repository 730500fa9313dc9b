//go:build linux

package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"gatehouse/appliance"
)

func newRun() *cobra.Command {
	var f fileFlags
	c := &cobra.Command{
		Use:   "run",
		Short: "run the gate",
		Long: `run starts the proxy, the DNS filter and the admin listener, and serves until it
is told to stop (SIGTERM). SIGHUP loads the rules file again; a changed file is
also noticed by itself.

Without --config, ` + appliance.SystemConfig + ` holds if it is there; without --rules,
the rules.toml beside it. Where there is no configuration at all, the built-in
defaults hold: loopback listeners, and the vendor's packs for this machine.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return run(cmd, f) },
	}
	f.flags(c)
	return c
}

func run(cmd *cobra.Command, f fileFlags) error {
	files, err := appliance.Locate(f.config, f.rules)
	if err != nil {
		return err
	}
	config, err := readConfig(files, cmd.ErrOrStderr(), exitNo)
	if err != nil {
		return err
	}
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	a := appliance.New(appliance.Options{
		Files: files, Config: config, Build: build(), Sockets: appliance.Inherited(), Hangup: hangup, Stdout: cmd.OutOrStdout(),
		Log: slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: config.Log.Level.Level})),
	})
	if err = a.Listen(); err == nil {
		context.AfterFunc(ctx, stop) // a second signal ends the process at once
		err = a.Run(ctx)
	}
	if err != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "gatehouse: %v\n", err)
		return exit(exitNo)
	}
	return nil
}
