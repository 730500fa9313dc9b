package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"gatehouse/bench/figures"
)

// row is a line of the table.
type row struct {
	key      string
	scenario string // whose skip or failure explains an empty cell
	title    string
	ratio    bool // worth comparing: lower is better, and it is cost, not the machine
}

var rows = []row{
	{"get", "get", "small GET, kept alive: CPU µs", true},
	{"get-new", "get-new", "small GET on a new client connection: CPU µs", true},
	{"connect", "connect", "CONNECT to a tcp port, one byte and back, close: CPU µs", true},
	{"bulk-1", "bulk-1", "bulk through 1 tunnel: CPU s/GiB", true},
	{"bulk-8", "bulk-8", "bulk through 8 tunnels: CPU s/GiB", true},
	{"gateway", "gateway", "redirected connection to a tcp port, one byte and back, close: CPU µs", true},
	{"gateway-bulk", "gateway", "bulk through 1 redirected connection: CPU s/GiB", true},
	{"refuse", "refuse", "refusal of a GET, kept alive: CPU µs", true},
	{"inspect", "inspect", "small GET inside inspected TLS, kept alive: CPU µs", true},
	{"inspect-new", "inspect-new", "inspected tunnel with its handshake, a small GET, close: CPU µs", true},
	{"down-p50", "down", "delay of a chunk to the client, median: µs", false},
	{"down-p99", "down", "the same, 99th of 100: µs", false},
	{"up-p50", "up", "delay of a chunk to the origin, median: µs", false},
	{"up-p99", "up", "the same, 99th of 100: µs", false},
	{"duplex-turns", "duplex", "full duplex in one exchange: turns done of %TRIPS%", false},
	{"duplex-p50", "duplex", "full duplex, there and back, median: µs", false},
	{"idle-open", "idle", "idle tunnels opened of %TUNNELS%", false},
	{"idle-alive", "idle", "of these alive afterwards", false},
	{"idle-kib", "idle", "memory of an idle tunnel: KiB (PSS)", true},
	{"idle-fds", "idle", "descriptors of an idle tunnel", false},
	{"get-few", "names", "GET, kept alive, %FEW% host names: CPU µs", false},
	{"get-many", "names", "GET, kept alive, %MANY% host names: CPU µs", true},
	{"refuse-few", "names", "refusal, %FEW% host names: CPU µs", false},
	{"refuse-many", "names", "refusal, %MANY% host names: CPU µs", true},
	{"names-mib", "names", "memory of %MANY% host names: MiB (PSS)", true},
	{"reload-cpu", "reload", "reading %MANY% host names again: CPU ms", true},
	{"reload-stall", "reload", "the slowest of the requests meanwhile: ms", false},
	{"reload-failed", "reload", "requests that failed meanwhile", false},
	{"start-few", "start", "exec to first answer, %FEW% host names: ms", true},
	{"start-many", "names", "exec to first answer, %MANY% host names: ms", true},
}

// report is what a run has to say.
type report struct {
	machine machine
	results *results
	targets []*target
	plan    plan
}

// The table lives between these lines of docs/performance.md.
var marks = figures.Marks{
	Begin: "<!-- measured: begin (made by go run ./bench; do not edit) -->",
	End:   "<!-- measured: end -->",
}

func (r report) markdown() string {
	var b strings.Builder
	r.machine.write(&b, r)
	shown := r.columns()
	fmt.Fprintf(&b, "\nMedian of %s (smallest to largest).\n\n", counted(r.plan.Rounds, "interleaved round"))
	r.head(&b, shown)
	for _, row := range r.filled(shown) {
		fmt.Fprintf(&b, "| %s |", r.title(row))
		for _, t := range shown {
			fmt.Fprintf(&b, " %s |", r.cell(t, row))
		}
		b.WriteString("\n")
	}
	r.ratios(&b, shown)
	r.notes(&b, shown)
	return b.String()
}

// columns are the targets that have a result.
func (r report) columns() []*target {
	return slices.DeleteFunc(slices.Clone(r.targets), func(t *target) bool { return len(r.results.found[t.name]) == 0 })
}

// filled are the rows in which somebody has a figure.
func (r report) filled(shown []*target) []row {
	return slices.DeleteFunc(slices.Clone(rows), func(row row) bool {
		return !slices.ContainsFunc(shown, func(t *target) bool { return len(r.results.found[t.name][row.key]) > 0 })
	})
}

func (r report) head(b *strings.Builder, shown []*target) {
	b.WriteString("| |")
	for _, t := range shown {
		fmt.Fprintf(b, " %s |", t.name)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(shown)) + "\n")
}

func (r report) title(row row) string {
	return strings.NewReplacer(
		"%TRIPS%", figures.Thousands(r.plan.Trips), "%TUNNELS%", figures.Thousands(r.plan.Tunnels),
		"%FEW%", figures.Thousands(r.plan.Few), "%MANY%", figures.Thousands(r.plan.Many),
	).Replace(row.title)
}

// cell is a figure with its spread, or why there is none.
func (r report) cell(t *target, row row) string {
	found := r.results.found[t.name][row.key]
	if len(found) == 0 {
		if _, failed := r.results.failures[t.name][row.scenario]; failed {
			return "**fails**"
		}
		return "–"
	}
	low, high := slices.Min(found), slices.Max(found)
	if figures.Short(low) == figures.Short(high) {
		return figures.Short(figures.Median(found))
	}
	return fmt.Sprintf("%s (%s–%s)", figures.Short(figures.Median(found)), figures.Short(low), figures.Short(high))
}

// ratios compares medians with the first column's.
func (r report) ratios(b *strings.Builder, shown []*target) {
	first := r.results.found[shown[0].name]
	fmt.Fprintf(b, "\nThe medians as multiples of %s's: above 1 the other costs more.\n\n", shown[0].name)
	peers := slices.DeleteFunc(slices.Clone(shown[1:]), func(t *target) bool { return t.prepare == nil })
	r.head(b, peers)
	for _, row := range r.filled(peers) {
		if !row.ratio || len(first[row.key]) == 0 || figures.Median(first[row.key]) <= 0 {
			continue
		}
		title, _, _ := strings.Cut(r.title(row), ": ")
		fmt.Fprintf(b, "| %s |", title)
		for _, t := range peers {
			if found := r.results.found[t.name][row.key]; len(found) > 0 {
				fmt.Fprintf(b, " %s |", figures.Short(figures.Median(found)/figures.Median(first[row.key])))
			} else {
				b.WriteString(" – |")
			}
		}
		b.WriteString("\n")
	}
}

// notes say what the columns are, and why cells are empty.
func (r report) notes(b *strings.Builder, shown []*target) {
	b.WriteString("\n")
	for _, t := range shown {
		fmt.Fprintf(b, "* **%s**: %s.\n", t.name, t.is)
	}
	for _, t := range r.targets {
		failures := r.results.failures[t.name]
		for _, key := range slices.Sorted(maps.Keys(failures)) {
			fmt.Fprintf(b, "* %s fails at *%s*: %s\n", t.name, key, oneLine(failures[key]))
		}
		reasons := map[string][]string{}
		for key, why := range t.skips {
			if why != "" {
				reasons[why] = append(reasons[why], key)
			}
		}
		for _, why := range slices.Sorted(maps.Keys(reasons)) {
			slices.Sort(reasons[why])
			fmt.Fprintf(b, "* %s does not run %s: %s.\n", t.name, strings.Join(reasons[why], ", "), why)
		}
	}
}

func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > 200 {
		s = string(r[:200]) + "…"
	}
	return strings.NewReplacer("|", "/", "<", "‹", ">", "›").Replace(s)
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func rounded(d time.Duration) string { return d.Round(time.Second).String() }
