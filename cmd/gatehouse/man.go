//go:build man

package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// extra is the command that writes the manual pages, in builds for packaging
// alone (go run -tags man ./cmd/gatehouse man DIR): what it needs does not ship.
func extra() []*cobra.Command {
	return []*cobra.Command{{
		Use: "man DIR", Short: "write the manual pages", Args: cobra.ExactArgs(1), Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			root.DisableAutoGenTag = true // it would name today
			root.InitDefaultCompletionCmd()
			return doc.GenManTree(root, &doc.GenManHeader{
				Section: "1", Source: "gatehouse", Manual: "gatehouse", Date: sourceDate(),
			}, args[0])
		},
	}}
}

// sourceDate is the date that the pages show: SOURCE_DATE_EPOCH, as reproducible
// builds set it, or now.
func sourceDate() *time.Time {
	at := time.Now()
	if epoch, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil {
		at = time.Unix(epoch, 0).UTC()
	} else if s := os.Getenv("SOURCE_DATE_EPOCH"); s != "" {
		fmt.Fprintf(os.Stderr, "SOURCE_DATE_EPOCH=%q is no number; the pages show today\n", s)
	}
	return &at
}
