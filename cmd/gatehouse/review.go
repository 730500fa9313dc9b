package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/rules"
)

type reviewFlags struct {
	fileFlags
	format string
	logs   []string
	days   int
}

func newReview() *cobra.Command {
	var f reviewFlags
	c := &cobra.Command{
		Use:   "review",
		Short: "say who allowed what, for whom and why",
		Long: `review lists every rule with its clients, hosts, owner, reason and last day, and
first those that somebody should look at: ended or ending soon, without owner or
reason and, where decision logs are given, never used while they were written.
Exit code: 0 done, 2 a file cannot be read.`,
		Example: "  gatehouse review --rules rules.toml\n" +
			"  gatehouse review --log decisions.log --format html > review.html",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return review(cmd, f) },
	}
	f.flags(c)
	c.Flags().StringVar(&f.format, "format", "text", "text, csv or html")
	c.Flags().StringArrayVar(&f.logs, "log", nil, "a decision log (JSON), read with the pieces it is rotated into; may be given several times")
	c.Flags().IntVar(&f.days, "days", 30, "a rule that ends within so many days ends soon")
	return c
}

func review(cmd *cobra.Command, f reviewFlags) error {
	write := map[string]func(rules.Review, io.Writer) error{"text": rules.Review.Text, "csv": rules.Review.CSV, "html": rules.Review.HTML}[f.format]
	if write == nil {
		return fmt.Errorf("--format: %q is none of text, csv, html", f.format)
	}
	h, err := f.load(cmd)
	if err != nil {
		return err
	}
	var book *rules.Book
	if len(f.logs) > 0 {
		book = &rules.Book{}
		reading := logReading{stdin: cmd.InOrStdin(), read: book.Read}
		if err := reading.all(f.logs); err != nil {
			return fmt.Errorf("--log: %w; name a decision log that can be read", err)
		}
	}
	return write(h.loaded.Review(h.files.RulesName(), time.Now(), time.Duration(f.days)*24*time.Hour, book), cmd.OutOrStdout())
}
