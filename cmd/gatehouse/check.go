package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"gatehouse/appliance"
	"gatehouse/rules"
)

type checkFlags struct {
	config, against string
	strict, json    bool
}

func newCheck() *cobra.Command {
	var f checkFlags
	c := &cobra.Command{
		Use:   "check [FILE...]",
		Short: "say what is wrong with a rules file, all at once",
		Long: `check reads rules files (and gatehouse.toml, by that name or because --config
names it too) as the gate would, and prints every problem with its line, a fix
and the reason. It reads the gatehouse.toml beside each file, or the one --config
names, for what the rules depend on. Without FILE it checks the rules file that
run would load. With --against OLD it also says what would change: the denies
that go away first.
Exit code: 0 may be loaded, 1 has errors, 2 could not be read.`,
		RunE: func(cmd *cobra.Command, args []string) error { return check(cmd, f, args) },
	}
	configFlag(c, &f.config)
	c.Flags().StringVar(&f.against, "against", "", "a rules file as it was: say in words what would change")
	c.Flags().BoolVar(&f.strict, "strict", false, "warnings are errors")
	c.Flags().BoolVar(&f.json, "json", false, "print JSON")
	return c
}

// report is what check found, in the shape of its JSON form.
type report struct {
	Problems   []rules.Problem    `json:"problems"`
	Mode       string             `json:"mode"`
	Rules      int                `json:"rules"`
	Unenforced []rules.Unenforced `json:"unenforced"`
	// Changes tell what differs from the file named by --against; nil without.
	Changes []string `json:"changes,omitempty"`
	notes   []string
	loaded  *rules.Loaded
}

func check(cmd *cobra.Command, f checkFlags, args []string) error {
	if len(args) == 0 {
		file, err := rulesInPlace(f.config)
		if err != nil {
			return err
		}
		args = []string{file}
	}
	failed := false
	reports := make([]report, 0, len(args))
	for _, file := range args {
		r, err := checkFile(file, f.config)
		if err == nil && f.against != "" {
			err = r.compare(f)
		}
		if err != nil {
			return err
		}
		if f.strict {
			r.harden()
		}
		failed = failed || rules.HasErrors(r.Problems)
		reports = append(reports, r)
	}
	if err := printReports(cmd, f, args, reports); err != nil {
		return err
	}
	if failed {
		return exit(exitNo)
	}
	return nil
}

// rulesInPlace is the rules file that run would load, or the one in this folder.
func rulesInPlace(config string) (string, error) {
	files, err := appliance.Locate(config, "")
	if err != nil || files.Rules != "" {
		return files.Rules, err
	}
	if _, err := os.Stat("rules.toml"); err != nil {
		return "", errors.New("there is no rules file to check; name one: gatehouse check FILE")
	}
	return "rules.toml", nil
}

func checkFile(file, config string) (report, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return report{}, fmt.Errorf("check: %w; name a file that can be read", err)
	}
	if isConfig(file, config) {
		_, problems := appliance.ParseConfig(file, text)
		return report{Problems: orNone(problems), Unenforced: []rules.Unenforced{}}, nil
	}
	env, notes, err := appliance.EnvBeside(file, config)
	if err != nil {
		return report{}, err
	}
	loaded, problems := rules.Load(file, text, env)
	r := report{Problems: orNone(problems), Unenforced: []rules.Unenforced{}, notes: notes, loaded: loaded}
	if loaded != nil {
		r.Mode, r.Rules, r.Unenforced = loaded.Mode.String(), loaded.RuleCount, append(r.Unenforced, loaded.Unenforced...)
	}
	return r, nil
}

// compare tells what would change if the file replaced the one it is held
// against.
func (r *report) compare(f checkFlags) error {
	old, err := checkFile(f.against, f.config)
	switch {
	case err != nil:
		return err
	case old.loaded == nil:
		return fmt.Errorf("check: %s cannot be loaded, so nothing can be held against it; check it first", f.against)
	case r.loaded == nil:
		return nil
	}
	if r.Changes = rules.Changes(old.loaded, r.loaded); len(r.Changes) == 0 {
		r.Changes = []string{"nothing changes"}
	}
	return nil
}

// isConfig reports whether a file is a configuration rather than rules: by the
// name that it has by default, or because --config names it.
func isConfig(file, config string) bool {
	return filepath.Base(file) == "gatehouse.toml" || config != "" && filepath.Clean(file) == filepath.Clean(config)
}

func orNone(problems []rules.Problem) []rules.Problem { return append([]rules.Problem{}, problems...) }

// harden makes errors of the warnings.
func (r *report) harden() {
	for i := range r.Problems {
		r.Problems[i].Level = rules.Error
	}
}

func printReports(cmd *cobra.Command, f checkFlags, files []string, reports []report) error {
	out := cmd.OutOrStdout()
	if f.json {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		for _, r := range reports { // one document for each file
			if err := enc.Encode(r); err != nil {
				return err
			}
		}
		return nil
	}
	for i, r := range reports {
		if err := rules.Render(out, r.Problems); err != nil {
			return err
		}
		if len(r.Problems) > 0 {
			fmt.Fprintln(out)
		}
		if len(r.Changes) > 0 {
			fmt.Fprintf(out, "against %s:\n", f.against)
		}
		for _, change := range r.Changes {
			fmt.Fprintf(out, "  %s\n", change)
		}
		for _, n := range r.notes {
			fmt.Fprintf(out, "note: %s\n", n)
		}
		fmt.Fprintln(out, r.summary(files[i]))
	}
	return nil
}

// summary is the last line: counts, mode, rules, what is not enforced.
func (r report) summary(file string) string {
	errs, warnings := 0, 0
	for _, p := range r.Problems {
		if p.Level == rules.Error {
			errs++
		} else {
			warnings++
		}
	}
	s := fmt.Sprintf("%s: %s, %s", file, count(errs, "error"), count(warnings, "warning"))
	if r.Mode != "" {
		s += fmt.Sprintf("; mode %s, %s, ", r.Mode, count(r.Rules, "rule"))
		switch n := len(r.loaded.Publishes); n {
		case 0:
		case 1:
			s += "1 publish, "
		default:
			s += fmt.Sprintf("%d publishes, ", n)
		}
		s += count(len(r.Unenforced), "clause") + " not enforced"
	}
	return s
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
