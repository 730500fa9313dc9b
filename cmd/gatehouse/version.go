package main

import (
	"cmp"
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

// version is the one that the package or the image was built as
// (-ldflags "-X main.version=1.2.3"); empty where none was given.
var version string

// build is what the toolchain wrote into the binary, under the given version: the
// toolchain knows only what git says, and a tree without git is "(devel)" to it.
func build() appliance.Build {
	b := appliance.Build{Version: cmp.Or(version, "(unknown)"), Revision: "(unknown)", Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.Version = cmp.Or(version, info.Main.Version)
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
