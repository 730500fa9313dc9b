package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/appliance"
)

func newNft() *cobra.Command {
	var f fileFlags
	c := &cobra.Command{
		Use:   "nft",
		Short: "print the firewall ruleset for the present rules",
		Long: `nft prints the ruleset that belongs to gatehouse.toml and rules.toml, for nftables:
clients' connections and DNS questions are turned to the gate, the ways round it are
closed, and only what is served can be reached. It changes nothing; where
firewall.manage is true, "gatehouse run" loads it. It stands in a table of its own,
inet gatehouse, which stays when gatehouse ends.
Exit code: 0 done, 2 a file cannot be read or has errors.`,
		Example: "  gatehouse nft | nft -f -                        # load it\n" +
			"  gatehouse nft > /etc/gatehouse/gatehouse.nft    # for the start of the machine\n" +
			"  gatehouse nft remove                            # take it away",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return printRuleset(cmd, f) },
	}
	f.flags(c)
	c.AddCommand(&cobra.Command{
		Use:   "remove",
		Short: "take the firewall's table away",
		Long: `remove deletes the table inet gatehouse from the kernel, and nothing else. From then
on the machine's other tables decide alone: where there are none and it routes,
everything passes. A gatehouse that runs with firewall.manage loads it again.
Exit code: 0 it is gone, or was not there; 1 it could not be taken away.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), 10*time.Second)
			defer cancel()
			if err := appliance.RemoveFirewall(ctx); err != nil {
				fmt.Fprintf(cmd.ErrOrStderr(), "gatehouse: %v\n", err)
				return exit(exitNo)
			}
			return nil
		},
	})
	return c
}

func printRuleset(cmd *cobra.Command, f fileFlags) error {
	h, err := f.load(cmd)
	if err != nil {
		return err
	}
	_, err = io.WriteString(cmd.OutOrStdout(), h.config.Ruleset(h.loaded, time.Now()))
	return err
}
