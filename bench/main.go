// Command bench measures what carrying traffic costs: gatehouse, the proxies of
// the field that are installed, a plain net/http proxy and no proxy at all, side
// by side on one machine, in interleaved rounds, as CPU time per operation.
//
// It is a tool for people who want to check a claim. It is no part of the gate,
// imports nothing of it, and drives the built binary from outside.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// settings are the command line.
type settings struct {
	quick           bool
	rounds          int
	only, scenarios string
	gatehouse       string
	write           string
	remark          string
}

func main() {
	if role, ok := roles[os.Getenv(roleVariable)]; ok {
		fail(role(os.Args[1:]))
		return
	}
	var s settings
	flag.BoolVar(&s.quick, "quick", false, "about two minutes and rougher figures")
	flag.IntVar(&s.rounds, "rounds", 0, "interleaved rounds (default 5, with -quick 2)")
	flag.StringVar(&s.only, "only", "", "measure only these programs, comma-separated, as the table's head names them")
	flag.StringVar(&s.scenarios, "scenarios", "", "run only these scenarios, comma-separated: "+strings.Join(scenarioKeys(), ", "))
	flag.StringVar(&s.gatehouse, "gatehouse", "", "the gatehouse binary (default: built from ./cmd/gatehouse)")
	flag.StringVar(&s.write, "write", "", "put the table between the markers of this Markdown file instead of printing it")
	flag.StringVar(&s.remark, "remark", "", "a sentence to stand above the table, say what else the machine was doing")
	flag.Parse()
	fail(settle())
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	fail(run(ctx, s))
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s settings) error {
	plan := full
	if s.quick {
		plan = quick
	}
	if s.rounds > 0 {
		plan.Limit = plan.Limit * time.Duration(s.rounds) / time.Duration(plan.Rounds)
		plan.Rounds = s.rounds
	}
	ctx, cancel := context.WithTimeoutCause(ctx, plan.Limit, fmt.Errorf("the run took longer than its bound of %s", plan.Limit))
	defer cancel()
	dir, err := os.MkdirTemp("", "gatehouse-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // squid drops to a user of its own
		return err
	}
	gatehouse, err := filepath.Abs(s.gatehouse)
	if s.gatehouse == "" && err == nil {
		gatehouse, err = buildGatehouse(ctx, dir)
	}
	if err != nil {
		return err
	}
	chosen, err := choose(scenarios, s.scenarios)
	if err != nil {
		return err
	}
	site, err := newSite()
	if err != nil {
		return err
	}
	defer site.Close()
	targets := installed(targets(gatehouse), s.only)
	if len(targets) == 0 {
		return fmt.Errorf("none of the programs in -only %q is known and installed", s.only)
	}
	b := &bench{site: site, dir: dir, plan: plan, targets: targets, scenarios: chosen, cpu: measuredCPU(), say: os.Stderr}
	results, err := b.run(ctx)
	if err != nil {
		return err
	}
	report := report{machine: survey(ctx, s, targets), results: results, targets: targets, plan: plan}
	if s.write != "" {
		return marks.Replace(s.write, report.markdown())
	}
	_, err = os.Stdout.WriteString(report.markdown())
	return err
}

// measuredCPU is the processor for the measured program; -1 on a machine that
// has but one, where the bench does not settle.
func measuredCPU() int {
	if os.Getenv(settledVariable) == "" {
		return -1
	}
	return 1
}
