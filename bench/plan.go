package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// plan is how much of everything a run does; all of it is bounded.
type plan struct {
	Rounds    int
	Clients   int           // connections that ask at the same time
	Warm      time.Duration // before each measurement
	Window    time.Duration // of each measurement
	Chunks    int           // in each direction
	Gap       time.Duration // between chunks
	Trips     int           // of full duplex
	Patience  time.Duration // with a turn of full duplex, before a proxy counts as not able
	Tunnels   int           // held idle
	Settle    time.Duration // before memory is read
	Few, Many int           // host names
	Limit     time.Duration // for everything
}

var full = plan{
	Rounds: 5, Clients: 64, Warm: 150 * time.Millisecond, Window: 600 * time.Millisecond,
	Chunks: 50, Gap: 20 * time.Millisecond, Trips: 200, Patience: 2 * time.Second, Tunnels: 9500, Settle: 1500 * time.Millisecond,
	Few: 10, Many: 100_000, Limit: 20 * time.Minute,
}

var quick = plan{
	Rounds: 2, Clients: 64, Warm: 50 * time.Millisecond, Window: 250 * time.Millisecond,
	Chunks: 25, Gap: 10 * time.Millisecond, Trips: 200, Patience: 2 * time.Second, Tunnels: 1000, Settle: time.Second,
	Few: 10, Many: 100_000, Limit: 5 * time.Minute,
}

func scenarioKeys() []string {
	var keys []string
	for _, s := range scenarios {
		keys = append(keys, s.key)
	}
	return keys
}

// choose picks scenarios by their keys; none named: all.
func choose(all []scenario, names string) ([]scenario, error) {
	wanted := list(names)
	for _, key := range wanted {
		if !slices.Contains(scenarioKeys(), key) {
			return nil, fmt.Errorf("there is no scenario %q; there are %s", key, strings.Join(scenarioKeys(), ", "))
		}
	}
	if len(wanted) == 0 {
		return all, nil
	}
	var chosen []scenario
	for _, s := range all {
		if slices.Contains(wanted, s.key) {
			chosen = append(chosen, s)
		}
	}
	return chosen, nil
}
