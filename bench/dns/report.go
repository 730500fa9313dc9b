package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The table lives between these lines of docs/performance.md.
const (
	markBegin = "<!-- dns: begin (made by go run ./bench/dns; do not edit) -->"
	markEnd   = "<!-- dns: end -->"
)

// replace puts the table between the markers of a file.
func replace(file, table string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("%w\nThe table that could not be written:\n%s", err, table)
	}
	before, rest, found := strings.Cut(string(text), markBegin)
	_, after, ended := strings.Cut(rest, markEnd)
	if !found || !ended {
		return fmt.Errorf("%s lacks the lines %q and %q.\nThe table that could not be written:\n%s", file, markBegin, markEnd, table)
	}
	return os.WriteFile(file, []byte(before+markBegin+"\n\n"+table+"\n"+markEnd+after), 0o644)
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
			fmt.Fprintf(&t, "\n%s left %s questions without an answer.\n", name, thousands(n))
		}
	}
	return t.String()
}

func (b *bench) cell(line row, name string) string {
	found := slices.Sorted(slices.Values(b.found[line.title][name]))
	if len(found) == 0 {
		return "–"
	}
	text := fmt.Sprintf("%s (%s–%s)", figure(median(found)), figure(found[0]), figure(found[len(found)-1]))
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
	return median(slices.Sorted(slices.Values(ratios)))
}

func median(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// figure prints a value to three digits or so: more were not measured.
func figure(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
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
