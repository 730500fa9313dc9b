package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// sampleReport has figures made for the test; they are no measurement.
func sampleReport() report {
	gate, peer, straight := &target{name: "gate", is: "ours"}, &target{name: "peer", is: "theirs"}, &target{name: "straight", is: "none"}
	gate.prepare = func(setup) (command, error) { return command{}, nil }
	peer.prepare = gate.prepare
	peer.skips = map[string]string{"connect": "it has no tunnels"}
	return report{
		machine: machine{command: "go run ./bench"},
		targets: []*target{gate, peer, straight},
		plan:    tiny,
		results: &results{
			began: time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC), took: time.Minute, others: []float64{0.1, 0.3, 0.2},
			strange: map[string]int{"compile": 3, "bash": 1},
			found: map[string]map[string][]float64{
				"gate":     {"get": {10, 30, 20}, "connect": {50}, "duplex-turns": {20}},
				"peer":     {"get": {41, 39}, "duplex-turns": {1}},
				"straight": {"duplex-turns": {20}},
			},
			failures: map[string]map[string]string{"gate": {}, "peer": {"duplex": "after 1 turns: a | time-out"}, "straight": {}},
		},
	}
}

func TestTheTableSaysWhatWasFound(t *testing.T) {
	text := sampleReport().markdown()
	for _, c := range []struct{ name, line string }{
		{"the columns are the targets in their order", "| | gate | peer | straight |"},
		{"a cell is the median with the smallest and the largest", "| small GET, kept alive: CPU µs | 20 (10–30) | 40 (39–41) | – |"},
		{"one value has no spread", "| CONNECT to a tcp port, one byte and back, close: CPU µs | 50 | – | – |"},
		{"what a target did before it failed is shown", "| full duplex in one exchange: turns done of 20 | 20 | 1 | 20 |"},
		{"a ratio is the peer's median over ours", "| small GET, kept alive | 2 |"},
		{"a failure is explained, and cannot break the table", "* peer fails at *duplex*: after 1 turns: a / time-out"},
		{"what was not run is explained", "* peer does not run connect: it has no tunnels."},
		{"strangers are named, the most frequent first", "* Other programs kept 0.20 processors busy in the median measurement, 0.30 in the worst; seen running: compile, bash."},
		{"the moment is told", "Made by `go run ./bench` on 2001-02-03 04:05 UTC in 1m0s."},
	} {
		t.Run(c.name, func(t *testing.T) { require.Contains(t, strings.Split(text, "\n"), c.line) })
	}
	require.NotContains(t, text, "bulk", "a row without any figure is not shown")
}

func TestQuantiles(t *testing.T) {
	var delays []time.Duration
	for n := range 101 {
		delays = append(delays, time.Duration(100-n)*time.Microsecond)
	}
	require.Equal(t, 50.0, quantile(delays, 0.5))
	require.Equal(t, 99.0, quantile(delays, 0.99))
}
