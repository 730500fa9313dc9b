// Command dns measures what one DNS question costs gatehouse, and unbound and
// dnsmasq beside it, in one run: CPU time of the whole process per question and
// memory, on one core, over loopback, with counting and the decision log on.
// The programs run side by side and are asked in turn. The load and the upstream
// run in this process; run it on another core:
//
//	go build -o /tmp/gatehouse ./cmd/gatehouse
//	taskset -c 0 go run ./bench/dns -gatehouse /tmp/gatehouse -core 1
//
// With -write docs/performance.md the table there is made anew. Peers that are
// not installed are left out.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"time"
)

// plan is what is to be measured.
type plan struct {
	gatehouse, core string
	length          time.Duration
	rounds, names   int
	only            string
}

func main() {
	var p plan
	flag.StringVar(&p.gatehouse, "gatehouse", "gatehouse", "the binary to measure")
	flag.StringVar(&p.core, "core", "1", "the core that the measured programs run on")
	flag.DurationVar(&p.length, "for", 600*time.Millisecond, "length of one measurement")
	flag.IntVar(&p.rounds, "rounds", 3, "interleaved rounds; the median counts")
	flag.IntVar(&p.names, "names", 100_000, "how many names the large site permits")
	flag.StringVar(&p.only, "only", "", "measure the rows whose title contains this; empty: all")
	file := flag.String("write", "", "the file whose table is made anew; empty: the table is printed")
	remark := flag.String("remark", "", "a sentence about the machine, for the table")
	flag.Parse()
	if err := run(p, *file, *remark); err != nil {
		fmt.Fprintln(os.Stderr, "bench/dns:", err)
		os.Exit(1)
	}
}

func run(p plan, file, remark string) error {
	began := time.Now()
	b := bench{plan: p, found: map[string]map[string][]float64{}}
	if err := b.measure(); err != nil {
		return err
	}
	table := b.table(time.Since(began), remark, strings.Join(os.Args[1:], " "))
	if file == "" {
		_, err := fmt.Println(table)
		return err
	}
	return marks.Replace(file, table)
}
