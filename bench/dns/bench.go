package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"gatehouse/bench/figures"
)

// row is a line of the table: a stream of questions, or the memory after those
// above it.
type row struct {
	title string
	scenario
	memory, room bool // of the process; what the DNS room adds to it
}

func (r row) asks() bool { return r.ask != nil }

func asking(title string, ask func(int, int) string, want byte) row {
	return row{title: title, scenario: scenario{ask: ask, want: want, window: clients}}
}

// few is the number of names of the small site.
const few = 10

// rows are the lines of a site's part of the table.
func rows(s site) []row {
	list := []row{
		asking("cached name", always(plainName), noError),
		asking("cached Service Bus chain", always(busName), noError),
		asking("refused name", always(refused), anyCode),
		asking("refused, each name new", everNew, anyCode),
	}
	if s.names == few {
		single := asking("cached name, one question at a time", always(plainName), noError)
		single.window = 1
		list = append(list, single)
	} else {
		all := asking("uncached", uncached, noError)
		all.each = uncachedNames
		list = append(list, all)
	}
	list = append(list, row{title: "memory: MiB (PSS)", memory: true}, row{title: "of it the DNS room", room: true})
	for i := range list {
		if list[i].asks() {
			list[i].title += ": CPU µs"
		}
		list[i].title = figures.Thousands(s.names) + " names, " + list[i].title
	}
	return list
}

// bench is a run.
type bench struct {
	plan
	found map[string]map[string][]float64 // by row and program
	lost  map[string]int                  // by program
	shown []string                        // the programs that were there
}

func (b *bench) sites() []site { return []site{{few}, {b.names}} }

// wanted are the rows that -only lets through.
func (b *bench) wanted(s site) []row {
	return slices.DeleteFunc(rows(s), func(r row) bool { return !strings.Contains(r.title, b.only) })
}

func (b *bench) measure() error {
	up, err := newUpstream()
	if err != nil {
		return err
	}
	defer up.close()
	b.lost = map[string]int{}
	for range b.rounds {
		for _, s := range b.sites() {
			if len(b.wanted(s)) == 0 {
				continue
			}
			if err := b.visit(s, up); err != nil {
				return err
			}
		}
	}
	return nil
}

// visit measures every row of a site once, each with one program after the other.
func (b *bench) visit(s site, up *upstream) error {
	without, err := b.memoryWithoutDNS(s, up)
	if err != nil {
		return err
	}
	var running []*process
	defer func() {
		for _, r := range running {
			r.stop()
		}
	}()
	for _, what := range programs(b.gatehouse) {
		if !what.installed() {
			continue
		}
		r, err := launch(b.plan, what, s, up)
		if err != nil {
			return fmt.Errorf("%s: %w", what.name, err)
		}
		running = append(running, r)
		if !slices.Contains(b.shown, what.name) {
			b.shown = append(b.shown, what.name)
		}
	}
	for _, line := range b.wanted(s) {
		for _, r := range running {
			if err := b.one(line, r, without); err != nil {
				return fmt.Errorf("%s, %s: %w", r.name, line.title, err)
			}
		}
	}
	return nil
}

func (b *bench) memoryWithoutDNS(s site, up *upstream) (float64, error) {
	r, err := launch(b.plan, withoutDNS(b.gatehouse), s, up)
	if err != nil {
		return 0, err
	}
	defer r.stop()
	return r.mib()
}

func (b *bench) one(line row, r *process, without float64) error {
	switch {
	case line.asks():
		return b.cost(line, r)
	case line.room && r.command != b.gatehouse:
		return nil
	}
	mib, err := r.mib()
	if line.room {
		mib -= without
	}
	b.note(line, r, mib)
	return err
}

// warmUp is for how long a scenario runs before it is measured, unless each of
// its questions may be asked but once.
const warmUp = 100 * time.Millisecond

func (b *bench) cost(line row, r *process) error {
	length := b.length
	if line.each > 0 {
		length *= 2
	} else if _, _, err := put(r.server, line.scenario, warmUp); err != nil {
		return err
	}
	before, err := r.cpu()
	if err != nil {
		return err
	}
	n, lost, err := put(r.server, line.scenario, length)
	if err != nil || n == 0 {
		return fmt.Errorf("%d answered, %d lost: %w", n, lost, err)
	}
	after, err := r.cpu()
	if err == nil && line.each > 0 && r.command == b.gatehouse { // the rest, for the cache to be full
		_, _, err = put(r.server, line.scenario, time.Minute)
	}
	b.lost[r.name] += lost
	b.note(line, r, float64((after-before).Nanoseconds())/1e3/float64(n))
	return err
}

func (b *bench) note(line row, r *process, v float64) {
	if b.found[line.title] == nil {
		b.found[line.title] = map[string][]float64{}
	}
	b.found[line.title][r.name] = append(b.found[line.title][r.name], v)
}
