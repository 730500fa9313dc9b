package main

import (
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"gatehouse/appliance"
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
		&cobra.Command{
			Use: "diff OLD NEW", Short: "say what differs between two packs, or two versions of one",
			Long: `diff says in words which rules of a pack come, go and change. OLD and NEW are names
of built-in packs or files, such as the output of an older "gatehouse packs show".
Exit code: 0 no difference, 1 there are differences, 2 one cannot be read.`,
			Example: "  gatehouse packs show xporter > xporter-2026.toml   # before an upgrade\n  gatehouse packs diff xporter-2026.toml xporter",
			Args:    cobra.ExactArgs(2), RunE: diffPacks,
		},
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
	text, err := packText(args[0])
	if err != nil {
		return err
	}
	_, err = cmd.OutOrStdout().Write(text)
	return err
}

// packText is the text of a built-in pack.
func packText(name string) ([]byte, error) {
	var names []string
	for _, p := range rules.Packs() {
		if p.Name == name {
			return p.Text, nil
		}
		names = append(names, p.Name)
	}
	return nil, fmt.Errorf("there is no pack %q; there are %s", name, strings.Join(names, ", "))
}

func diffPacks(cmd *cobra.Command, args []string) error {
	before, err := loadPack(cmd, args[0])
	if err != nil {
		return err
	}
	after, err := loadPack(cmd, args[1])
	if err != nil {
		return err
	}
	changes := rules.Changes(before, after)
	if len(changes) == 0 {
		fmt.Fprintln(cmd.OutOrStdout(), "no difference")
		return nil
	}
	for _, change := range changes {
		fmt.Fprintln(cmd.OutOrStdout(), change)
	}
	return exit(exitNo)
}

// loadPack loads a built-in pack, or a file where none has the name.
func loadPack(cmd *cobra.Command, name string) (*rules.Loaded, error) {
	text, err := packText(name)
	if err != nil {
		if text, err = os.ReadFile(name); err != nil {
			return nil, fmt.Errorf("packs diff: %w; name a built-in pack (gatehouse packs) or a file", err)
		}
	}
	config := appliance.DefaultConfig()
	env, err := config.EnvNow()
	if err != nil {
		return nil, err
	}
	loaded, problems := rules.Load(name, text, env)
	if loaded == nil {
		rules.Render(cmd.ErrOrStderr(), problems)
		return nil, fmt.Errorf("%s cannot be loaded; repair it, then compare again", name)
	}
	return loaded, nil
}
