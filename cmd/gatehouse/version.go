package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"gatehouse/appliance"
)

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "say which gatehouse this is", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b := build()
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "gatehouse %s\nrevision %s\n%s %s/%s\n", b.Version, b.Revision, b.Go, runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}

// build is what the toolchain wrote into the binary.
func build() appliance.Build {
	b := appliance.Build{Version: "(unknown)", Revision: "(unknown)", Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.Version = info.Main.Version
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			b.Revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			b.Revision += " (modified)"
		}
	}
	return b
}
