package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"gatehouse/appliance"
	"gatehouse/rules"
)

// fileFlags name the files that a command is about; what is empty is where the
// gate would look for it.
type fileFlags struct{ config, rules string }

func (f *fileFlags) flags(c *cobra.Command) {
	configFlag(c, &f.config)
	rulesFlag(c, &f.rules)
}

// configFlag is the flag that names gatehouse.toml.
func configFlag(c *cobra.Command, into *string) {
	c.Flags().StringVar(into, "config", "", "gatehouse.toml (default "+appliance.SystemConfig+" if it is there)")
}

// rulesFlag is the flag that names rules.toml.
func rulesFlag(c *cobra.Command, into *string) {
	c.Flags().StringVar(into, "rules", "", "rules.toml (default: the one beside gatehouse.toml)")
}

// settings are the files, and the configuration in them. Its problems are printed.
func (f fileFlags) settings(cmd *cobra.Command) (appliance.Files, *appliance.Config, error) {
	files, err := appliance.Locate(f.config, f.rules)
	if err != nil {
		return files, nil, err
	}
	c, err := readConfig(files, cmd.ErrOrStderr(), exitBroken)
	return files, c, err
}

// held is what would hold if a gate ran.
type held struct {
	files  appliance.Files
	config *appliance.Config
	loaded *rules.Loaded
}

// load reads the files as the gate would. Their problems are printed.
func (f fileFlags) load(cmd *cobra.Command) (*held, error) {
	files, config, err := f.settings(cmd)
	if err != nil {
		return nil, err
	}
	env, err := config.EnvNow()
	if err != nil {
		return nil, err
	}
	text, err := files.ReadRules()
	if err != nil {
		return nil, fmt.Errorf("%s: %w; name a rules file by --rules", cmd.Name(), err)
	}
	loaded, problems := rules.Load(files.RulesName(), text, env)
	if loaded == nil {
		rules.Render(cmd.ErrOrStderr(), problems)
		return nil, fmt.Errorf("%s cannot be loaded; repair it, then ask again", files.RulesName())
	}
	return &held{files, config, loaded}, nil
}

// readConfig reads the configuration that holds. Its problems are printed, and
// where one is an error the command ends with the given code.
func readConfig(f appliance.Files, stderr io.Writer, code int) (*appliance.Config, error) {
	config, problems, err := f.ReadConfig()
	if err != nil {
		return nil, err
	}
	if len(problems) > 0 {
		rules.Render(stderr, problems)
	}
	if rules.HasErrors(problems) {
		fmt.Fprintf(stderr, "\ngatehouse: %s has errors; repair it, then try again\n", f.ConfigName())
		return nil, exit(code)
	}
	return config, nil
}

// printJSON prints what a command found on one line, for programs.
func printJSON(cmd *cobra.Command, found any) error {
	enc := json.NewEncoder(cmd.OutOrStdout())
	enc.SetEscapeHTML(false)
	return enc.Encode(found)
}
