package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newAlarm() *cobra.Command {
	c := &cobra.Command{
		Use: "alarm", Short: "alarms to a person, by mail or webhook", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var config string
	test := &cobra.Command{
		Use:   "test",
		Short: "have the running gate send an alarm that is none",
		Long: `test has the running gate send a message by each way that [alarm] of gatehouse.toml
names, and says how it went.
Exit code: 0 sent, 1 not sent or nobody is told, 2 no gate answers.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			control, err := connect(cmd, config)
			if err != nil {
				return err
			}
			well, words, err := control.TryAlarms(cmd.Context())
			if err != nil {
				return err
			}
			fmt.Fprint(cmd.OutOrStdout(), words)
			if !well {
				return exit(exitNo)
			}
			return nil
		},
	}
	configFlag(test, &config)
	c.AddCommand(test)
	return c
}
