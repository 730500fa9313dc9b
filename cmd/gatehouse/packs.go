package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"gatehouse/rules"
)

func newPacks() *cobra.Command {
	c := &cobra.Command{
		Use:   "packs",
		Short: "the built-in requirement packs",
		Long:  "packs lists the requirement packs that are built in: what the vendor's firewall page asks for, as rules.",
		Args:  cobra.NoArgs,
		RunE:  listPacks,
	}
	c.AddCommand(
		&cobra.Command{Use: "list", Short: "list them", Args: cobra.NoArgs, RunE: listPacks},
		&cobra.Command{Use: "show NAME", Short: "print one, with its citations", Args: cobra.ExactArgs(1), RunE: showPack},
	)
	return c
}

func listPacks(cmd *cobra.Command, _ []string) error {
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	for _, p := range rules.Packs() {
		fmt.Fprintf(w, "%s\t%s\n", p.Name, p.Summary)
	}
	return w.Flush()
}

func showPack(cmd *cobra.Command, args []string) error {
	var names []string
	for _, p := range rules.Packs() {
		if p.Name == args[0] {
			_, err := cmd.OutOrStdout().Write(p.Text)
			return err
		}
		names = append(names, p.Name)
	}
	return fmt.Errorf("there is no pack %q; there are %s", args[0], strings.Join(names, ", "))
}
