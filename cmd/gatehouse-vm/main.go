//go:build linux

// Command gatehouse-vm is in the virtual machine's image only, and is run by its
// units: see package vm. Nobody types it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	_ "time/tzdata" // the image has no zones of its own

	"gatehouse/vm"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "gatehouse-vm: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	m := vm.System()
	verb := ""
	if len(args) == 1 {
		verb = args[0]
	}
	switch verb {
	case "format": // the data disk, if there is none
		return m.Format(ctx)
	case "apply": // the settings, before there is a network
		return m.Apply(ctx)
	case "screen": // on this terminal
		s, stop := vm.NewScreen(m)
		defer stop()
		return s.Run(ctx)
	}
	return fmt.Errorf("usage: gatehouse-vm format | apply | screen")
}
