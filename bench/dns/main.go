// Command dns measures what one DNS question costs gatehouse, and unbound and
// dnsmasq beside it, in one run: CPU time of the whole process per question, on
// one core, over loopback, with counting and the decision log on. The load and
// the upstream run in this process; run it on another core:
//
//	go build -o /tmp/gatehouse ./cmd/gatehouse
//	taskset -c 0 go run ./bench/dns -gatehouse /tmp/gatehouse -core 1
//
// Peers that are not installed are left out.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

func main() {
	gatehouse := flag.String("gatehouse", "gatehouse", "the binary to measure")
	core := flag.String("core", "1", "the core that the measured program runs on")
	length := flag.Duration("for", 2*time.Second, "length of one measurement")
	rounds := flag.Int("rounds", 3, "interleaved rounds; the median counts")
	names := flag.Int("names", 10, "how many further names are permitted")
	only := flag.String("only", "", "the scenario to measure; empty: all")
	flag.Parse()
	if err := run(plan{*gatehouse, *core, *length, *rounds, *names, *only}); err != nil {
		fmt.Fprintln(os.Stderr, "bench/dns:", err)
		os.Exit(1)
	}
}

type plan struct {
	gatehouse, core string
	length          time.Duration
	rounds, names   int
	only            string
}

// figure is what one measurement came to.
type figure struct {
	micros float64 // CPU time per answered question
	rate   float64 // questions per second
	lost   int
}

func (p plan) scenarios() []scenario {
	if p.only == "" {
		return scenarios
	}
	return slices.DeleteFunc(slices.Clone(scenarios), func(s scenario) bool { return s.name != p.only })
}

func run(p plan) error {
	if len(p.scenarios()) == 0 {
		return fmt.Errorf("no scenario is called %q", p.only)
	}
	up, err := newUpstream()
	if err != nil {
		return err
	}
	defer up.close()
	figures := map[string][]figure{}
	var columns []string
	for range p.rounds {
		for _, program := range programs(p) {
			if !program.installed() {
				continue
			}
			if !slices.Contains(columns, program.name) {
				columns = append(columns, program.name)
			}
			for _, s := range p.scenarios() {
				f, err := measure(p, program, s, up)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", program.name, s.name, err)
				}
				key := s.name + " " + program.name
				figures[key] = append(figures[key], f)
			}
		}
	}
	return print(p, columns, figures)
}

func print(p plan, columns []string, figures map[string][]figure) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "µs of CPU per question (questions/s)\t%s\t\n", strings.Join(columns, "\t"))
	for _, s := range p.scenarios() {
		fmt.Fprintf(w, "%s\t", s.name)
		for _, c := range columns {
			list := figures[s.name+" "+c]
			slices.SortFunc(list, func(a, b figure) int { return int(1e6 * (a.micros - b.micros)) })
			f := list[len(list)/2]
			fmt.Fprintf(w, "%.2f (%.0f)", f.micros, f.rate)
			if f.lost > 0 {
				fmt.Fprintf(w, " %d lost", f.lost)
			}
			fmt.Fprint(w, "\t")
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "median of %d rounds of %s, %d further names\t\n", p.rounds, p.length, p.names)
	return w.Flush()
}
