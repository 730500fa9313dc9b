package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gatehouse/bench/figures"
)

// bench is one run: what is measured, against what, how much.
type bench struct {
	site      *site
	dir       string // for the files of the programs
	plan      plan
	targets   []*target
	scenarios []scenario
	cpu       int       // of the measured program; -1: any
	say       io.Writer // progress
}

// results are the values of all rounds: by target, by row.
type results struct {
	found    map[string]map[string][]float64
	failures map[string]map[string]string // by target, by scenario: why not
	others   []float64                    // processors that strangers kept busy, during each measurement
	strange  map[string]int               // their names, with how often they were seen to run
	began    time.Time
	took     time.Duration
}

// run measures in interleaved rounds: in each, every scenario meets every target
// before the next scenario, in an order that turns from round to round, so that
// a change of the machine meets all alike.
func (b *bench) run(ctx context.Context) (*results, error) {
	r := &results{found: map[string]map[string][]float64{}, failures: map[string]map[string]string{}, strange: map[string]int{}, began: time.Now()}
	for round := range b.plan.Rounds {
		fmt.Fprintf(b.say, "round %d of %d, %s\n", round+1, b.plan.Rounds, time.Since(r.began).Round(time.Second))
		if err := b.round(ctx, round, r); err != nil {
			return nil, err
		}
	}
	r.took = time.Since(r.began)
	return r, nil
}

func (b *bench) round(ctx context.Context, round int, r *results) error {
	instances, err := b.startAll(ctx, r)
	defer func() {
		for _, i := range instances {
			i.stop()
		}
	}()
	if err != nil {
		return err
	}
	for _, s := range b.scenarios {
		for n := range instances {
			i := instances[(n+round)%len(instances)]
			if _, skipped := i.target.skips[s.key]; skipped {
				continue
			}
			watch := watchOthers(i)
			found, err := s.run(ctx, b, i)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			r.add(i.target.name, s.key, found, err)
			r.others = append(r.others, watch.busy())
			watch.count(r.strange)
			fmt.Fprintf(b.say, "  %-10s %-20s %s\n", s.key, i.target.name, brief(found, err))
		}
	}
	return nil
}

// startAll starts what is to be measured; one that does not start is a result,
// unless it is gatehouse.
func (b *bench) startAll(ctx context.Context, r *results) ([]*instance, error) {
	var running []*instance
	for _, t := range b.targets {
		i, err := t.start(ctx, b.site, b.dir, b.cpu, b.plan.Few, true)
		switch {
		case err == nil:
			running = append(running, i)
		case t == b.targets[0] || ctx.Err() != nil:
			return running, errors.Join(err, context.Cause(ctx))
		default:
			r.add(t.name, "start", nil, err)
			fmt.Fprintf(b.say, "  %v\n", err)
		}
	}
	return running, nil
}

func (r *results) add(target, scenario string, found values, err error) {
	if r.found[target] == nil {
		r.found[target], r.failures[target] = map[string][]float64{}, map[string]string{}
	}
	for row, v := range found {
		r.found[target][row] = append(r.found[target][row], v)
	}
	if err != nil {
		r.failures[target][scenario] = err.Error()
	}
}

func brief(found values, err error) string {
	var parts []string
	for row, v := range found {
		parts = append(parts, fmt.Sprintf("%s=%s", row, figures.Short(v)))
	}
	slices.Sort(parts)
	if err != nil {
		parts = append(parts, err.Error())
	}
	return strings.Join(parts, " ")
}

// buildGatehouse builds the gate as it ships.
func buildGatehouse(ctx context.Context, dir string) (string, error) {
	bin := filepath.Join(dir, "gatehouse")
	build := exec.CommandContext(ctx, "go", "build", "-o", bin, "gatehouse/cmd/gatehouse")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building gatehouse (run bench from its repository, or name a binary with -gatehouse): %w\n%s", err, out)
	}
	return bin, nil
}
