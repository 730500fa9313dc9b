package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/appliance"
	"gatehouse/internal/servicetags"
)

func newAzure() *cobra.Command {
	var f fileFlags
	c := &cobra.Command{
		Use:   "azure",
		Short: "the Azure service tags that the rules refer to",
		Long: `azure tells of the lists in which Microsoft publishes the addresses of Azure by
service and region: the ServiceTags_Public_*.json of download id 56519, weekly.
Put a current one in force by "azure import", or have the gate fetch it each
week: fetch = "weekly" below [azure] in gatehouse.toml.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	show := &cobra.Command{Use: "show", Short: "the list in force, and the tags of it that the rules use", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return showTags(cmd, f) }}
	lookup := &cobra.Command{Use: "lookup IP", Short: "the tags that hold an address, or whose relay gateway a name is (exit code 1: none)", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return lookupTags(cmd, f, args[0]) }}
	diff := &cobra.Command{Use: "diff FILE", Short: "what importing a list would change (exit code 1: it would be refused)", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return diffTags(cmd, f, args[0]) }}
	var force bool
	imp := &cobra.Command{Use: "import FILE", Short: "put a list where azure.tags leads",
		Long: `import compares a list with the one in force, has the rules run their tests with
it, and puts it where azure.tags of gatehouse.toml leads; a running gate takes it
from there. A list that is older, lacks a tag in use, has lost more than a third
of one, or with which the rules cannot be loaded is refused, unless --force.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return importTags(cmd, f, args[0], force) }}
	imp.Flags().BoolVar(&force, "force", false, "import it whatever there is to be said against it")
	for _, sub := range []*cobra.Command{show, lookup, diff, imp} {
		f.flags(sub)
	}
	c.AddCommand(show, lookup, diff, imp)
	return c
}

func showTags(cmd *cobra.Command, f fileFlags) error {
	files, c, err := f.settings(cmd)
	if err != nil {
		return err
	}
	tags, err := c.TagsInForce()
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "file           %s\nchange number  %d\ndate           %s\ntags           %d\n",
		tags.Name, tags.ChangeNumber, dated(tags), len(tags.Names()))
	used, err := c.TagsInUse(files)
	if err != nil {
		return err
	}
	for _, name := range used {
		list, _ := tags.Prefixes(name)
		fmt.Fprintf(out, "in use         %s, %d ranges\n", name, len(list))
	}
	return nil
}

func dated(f *servicetags.File) string {
	if f.Date.IsZero() {
		return "none in the file's name"
	}
	return fmt.Sprintf("%s (%d days ago)", f.Date.Format(time.DateOnly), int(time.Since(f.Date).Hours()/24))
}

func lookupTags(cmd *cobra.Command, f fileFlags, s string) error {
	addr, err := netip.ParseAddr(s)
	_, _, gateway := servicetags.Gateway(s)
	if err != nil && !gateway {
		return fmt.Errorf("%q is no IP address, and not the name of a relay gateway; write one like 13.74.107.71", s)
	}
	_, c, err := f.settings(cmd)
	if err != nil {
		return err
	}
	if gateway {
		fmt.Fprintln(cmd.OutOrStdout(), relayNote(cmd.Context(), c.State.Dir, strings.ToLower(s)))
		return nil
	}
	tags, err := c.TagsInForce()
	if err != nil {
		return err
	}
	holding := tags.Lookup(addr)
	if len(holding) == 0 {
		fmt.Fprintf(cmd.OutOrStdout(), "no tag of %s holds %s\n", tags.Name, addr)
		return exit(exitNo)
	}
	fmt.Fprintln(cmd.OutOrStdout(), strings.Join(holding, "\n"))
	return nil
}

func diffTags(cmd *cobra.Command, f fileFlags, path string) error {
	i, err := f.weigh(cmd, path)
	if err != nil {
		return err
	}
	if len(i.Objections) > 0 {
		return exit(exitNo)
	}
	return nil
}

// weigh compares, and prints what would change and what is to be said against
// it.
func (f fileFlags) weigh(cmd *cobra.Command, path string) (*appliance.TagImport, error) {
	files, c, err := f.settings(cmd)
	if err != nil {
		return nil, err
	}
	i, err := c.WeighTags(files, path)
	if err != nil {
		return nil, err
	}
	printChanges(cmd.OutOrStdout(), i)
	printFallingOut(cmd, c, i)
	for _, o := range i.Objections {
		fmt.Fprintf(cmd.ErrOrStderr(), "gatehouse: %s: %s\n", path, o)
	}
	return i, nil
}

// printFallingOut tells which addresses that were used lately no tag in use would
// hold any longer: by the word of the running gate, else of its decision log.
func printFallingOut(cmd *cobra.Command, c *appliance.Config, i *appliance.TagImport) {
	out := cmd.OutOrStdout()
	used, err := appliance.NewControl(c.State.Dir).UsedAddresses(cmd.Context())
	if err != nil && c.Log.Decisions != "stdout" && c.Log.Format == "json" {
		used, err = appliance.UsedInLog(c.Log.Decisions)
	}
	if err != nil {
		fmt.Fprintln(out, "which addresses in use would fall out is not known: no running gatehouse answers, and there is no decision log to read")
		return
	}
	falling := map[netip.Addr]bool{} // one that several tags hold is told for each, and counted once
	for _, a := range i.FallingOut(used) {
		falling[a.Addr] = true
		fmt.Fprintf(out, "in use and no longer in %s: %s (%s, last on %s)\n", a.Tag, a.Addr, a.Host, a.Last.Format(time.DateTime))
	}
	fmt.Fprintf(out, "%d of %d addresses in use would fall out of the tags that the rules use\n", len(falling), len(used))
}

// printChanges tells of the tags in use range by range, and of the others how
// many ranges they gain and lose.
func printChanges(out io.Writer, i *appliance.TagImport) {
	fmt.Fprintf(out, "in force  change number %d, %s\nnew       change number %d, %s\n",
		i.Before.ChangeNumber, dated(i.Before), i.After.ChangeNumber, dated(i.After))
	others := 0
	for _, c := range i.Changes {
		if !i.Uses(c.Tag) {
			others++
			continue
		}
		fmt.Fprintf(out, "%s: %d ranges, then %d\n", c.Tag, c.Before, c.After)
		for _, p := range c.Removed {
			fmt.Fprintf(out, "  - %s\n", p)
		}
		for _, p := range c.Added {
			fmt.Fprintf(out, "  + %s\n", p)
		}
	}
	fmt.Fprintf(out, "%d tags that the rules do not use change as well\n", others)
}

func importTags(cmd *cobra.Command, f fileFlags, path string, force bool) error {
	i, err := f.weigh(cmd, path)
	if err != nil {
		return err
	}
	if len(i.Objections) > 0 && !force {
		fmt.Fprintln(cmd.ErrOrStderr(), "gatehouse: not imported; the tags in force stay. If this is meant: gatehouse azure import --force")
		return exit(exitNo)
	}
	to, err := i.Apply()
	if err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "imported to %s\n", to)
	if len(i.Objections) > 0 {
		return insist(cmd, f)
	}
	return nil
}

// insist has the running gate take a list that it would not take by itself.
func insist(cmd *cobra.Command, f fileFlags) error {
	_, c, err := f.settings(cmd)
	if err != nil {
		return err
	}
	err = appliance.NewControl(c.State.Dir).TakeTags(cmd.Context())
	if errors.Is(err, appliance.ErrNotRunning) {
		fmt.Fprintln(cmd.OutOrStdout(), "no running gatehouse answers; it takes the list when it is started")
		return nil
	}
	return err
}
