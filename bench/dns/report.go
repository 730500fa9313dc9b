package main

import (
	"fmt"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"gatehouse/bench/figures"
)

// The table lives between these lines of docs/performance.md.
var marks = figures.Marks{
	Begin: "<!-- dns: begin (made by go run ./bench/dns; do not edit) -->",
	End:   "<!-- dns: end -->",
}

// table is the medians, with the spread behind them and how they compare.
func (b *bench) table(took time.Duration, remark, arguments string) string {
	var t strings.Builder
	fmt.Fprintf(&t, "Made by `go run ./bench/dns %s` on %s in %s. %s, commit %s, built with %s. %s\n\n",
		arguments, time.Now().UTC().Format("2006-01-02 15:04 UTC"), took.Round(time.Second), kernel(), commit(), runtime.Version(), remark)
	fmt.Fprintf(&t, "Median of %d interleaved rounds (smallest to largest); behind it how many times gatehouse's.\n\n", b.rounds)
	fmt.Fprintf(&t, "| | %s |\n|---%s|\n", strings.Join(b.shown, " | "), strings.Repeat("|---", len(b.shown)))
	for _, s := range b.sites() {
		for _, line := range b.wanted(s) {
			fmt.Fprintf(&t, "| %s |", line.title)
			for _, name := range b.shown {
				fmt.Fprintf(&t, " %s |", b.cell(line, name))
			}
			t.WriteString("\n")
		}
	}
	for _, name := range b.shown {
		if n := b.lost[name]; n > 0 {
			fmt.Fprintf(&t, "\n%s left %s questions without an answer.\n", name, figures.Thousands(n))
		}
	}
	return t.String()
}

func (b *bench) cell(line row, name string) string {
	found := slices.Sorted(slices.Values(b.found[line.title][name]))
	if len(found) == 0 {
		return "–"
	}
	text := fmt.Sprintf("%s (%s–%s)", figures.Short(figures.Median(found)), figures.Short(found[0]), figures.Short(found[len(found)-1]))
	own := b.found[line.title][b.shown[0]]
	if name != b.shown[0] && len(own) == len(found) {
		text += fmt.Sprintf(", × %.2f", b.compared(line, name))
	}
	return text
}

// compared is the median of the ratios within each round, which a busy neighbour
// disturbs less than the ratio of the medians.
func (b *bench) compared(line row, name string) float64 {
	var ratios []float64
	for i, v := range b.found[line.title][name] {
		ratios = append(ratios, v/b.found[line.title][b.shown[0]][i])
	}
	return figures.Median(slices.Sorted(slices.Values(ratios)))
}

func kernel() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "Linux"
	}
	return "Linux " + unix.ByteSliceToString(u.Release[:])
}

func commit() string {
	id, err := exec.Command("git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(id))
}
