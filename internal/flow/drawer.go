package flow

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
)

// Filter picks decisions; an empty field fits all. Host and Client fit parts, whatever
// the case of their letters.
type Filter struct {
	Surface, Client, Host, Verdict, Reason, Rule string
}

// The fields that a Filter asks for.
const (
	bySurface = iota
	byClient
	byHost
	byVerdict
	byReason
	byRule
	filtered // how many there are
)

// tells is what a Record says in a field that a Filter asks for.
func (r *Record) tells(field int) string {
	switch field {
	case bySurface:
		return r.Surface.String()
	case byClient:
		if r.Client.IsValid() {
			return r.Client.String()
		}
	case byHost:
		return r.Host
	case byVerdict:
		return r.Verdict.String()
	case byReason:
		return r.Verdict.Reason.String()
	case byRule:
		return r.Verdict.RuleName()
	}
	return ""
}

// Fits reports whether a Record is one that is looked for.
func (f *Filter) Fits(r *Record) bool {
	for field, want := range f.wanted() {
		if want != "" && !fits(field, want, r.tells(field)) {
			return false
		}
	}
	return true
}

func (f *Filter) wanted() [filtered]string {
	return [filtered]string{f.Surface, strings.ToLower(f.Client), strings.ToLower(f.Host), f.Verdict, f.Reason, f.Rule}
}

func fits(field int, want, told string) bool {
	if field == byHost || field == byClient {
		return strings.Contains(told, want)
	}
	return want == told
}

// drawerLines is how many lines a drawer holds, so that a number of a word takes two
// octets, and the oldest go in small steps.
const drawerLines = 4096

// drawer is the catalogue of some lines in a row.
type drawer struct {
	start   int64 // where the first line stands
	lines   []catalogued
	words   [filtered][]string          // what the lines say in each field, each once
	numbers [filtered]map[string]uint16 // of the words; nil: it is full
}

// catalogued is one line.
type catalogued struct {
	id    uint64           // 0: it is no decision, or tells of repeats
	end   int64            // where the line ends
	words [filtered]uint16 // by their numbers
}

func newDrawer(start int64) *drawer {
	d := &drawer{start: start}
	for field := range d.numbers {
		d.numbers[field] = map[string]uint16{}
	}
	return d
}

// full reports whether no line finds room.
func (d *drawer) full() bool { return d.numbers[0] == nil }

// end is where its last line ends.
func (d *drawer) end() int64 {
	if len(d.lines) == 0 {
		return d.start
	}
	return d.lines[len(d.lines)-1].end
}

// add takes a line in, which is so long; nil: it is none of ours.
func (d *drawer) add(line []byte, length int64) {
	c := catalogued{end: d.end() + length}
	if p := (plainLine{}); p.split(line) {
		if p[atRepeats] == nil {
			c.id = hashOf(string(p[atID]))
			for field, at := range [filtered]int{atSurface, atClient, atHost, atVerdict, atReason, atRule} {
				c.words[field] = d.number(field, p[at])
			}
		}
	} else if r, err := ParseLine(line); err == nil && r.Repeats == 0 {
		c.id = hashOf(r.ID)
		for field := range c.words {
			c.words[field] = d.number(field, []byte(r.tells(field)))
		}
	}
	d.lines = append(d.lines, c)
	if len(d.lines) == drawerLines {
		d.numbers = [filtered]map[string]uint16{}
	}
}

// number is that of a word of a field.
func (d *drawer) number(field int, word []byte) uint16 {
	if n, ok := d.numbers[field][string(word)]; ok {
		return n
	}
	n := uint16(len(d.words[field]))
	d.words[field] = append(d.words[field], string(word))
	d.numbers[field][d.words[field][n]] = n
	return n
}

// pick is a search among catalogued lines.
type pick struct {
	from   *Filter
	fits   func(id uint64) bool
	id     string // the one that is wanted; empty: any
	most   int
	found  []*Record
	buf    []byte
	octets int64 // that were read
}

// pick looks through a shelf, the newest line first.
func (s *shelf) pick(ctx context.Context, p *pick, below place) error {
	for i := min(below.drawer, len(s.drawers)-1); i >= 0 && len(p.found) < p.most; i-- {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.drawers[i].pick(s.file, p, below.lines(i)); err != nil {
			return err
		}
	}
	return nil
}

func (d *drawer) pick(f io.ReaderAt, p *pick, below int) error {
	fit, some := d.fitting(p.from)
	for i := min(below, len(d.lines)) - 1; some && i >= 0 && len(p.found) < p.most; i-- {
		c := &d.lines[i]
		if c.id == 0 || !c.fits(&fit) || !p.fits(c.id) {
			continue
		}
		begin := d.start
		if i > 0 {
			begin = d.lines[i-1].end
		}
		if err := p.read(f, begin, c.end-begin); err != nil {
			return err
		}
	}
	return nil
}

// fitting tells of each word whether it fits, field by field, nil where any does; some
// reports whether every field has one.
func (d *drawer) fitting(f *Filter) (fit [filtered][]bool, some bool) {
	for field, want := range f.wanted() {
		if want == "" {
			continue
		}
		one := false
		fit[field] = make([]bool, len(d.words[field]))
		for n, word := range d.words[field] {
			fit[field][n] = fits(field, want, word)
			one = one || fit[field][n]
		}
		if !one {
			return fit, false
		}
	}
	return fit, true
}

func (c *catalogued) fits(fit *[filtered][]bool) bool {
	for field, words := range fit {
		if words != nil && !words[c.words[field]] {
			return false
		}
	}
	return true
}

// read reads a line, and adds it where it is what the catalogue has of it.
func (p *pick) read(f io.ReaderAt, at, length int64) error {
	p.buf = slices.Grow(p.buf[:0], int(length))[:length]
	p.octets += length
	if _, err := f.ReadAt(p.buf, at); errors.Is(err, io.EOF) {
		return nil // it has been cut since
	} else if err != nil {
		return err
	}
	r, err := ParseLine(p.buf)
	if err == nil && r.Repeats == 0 && p.from.Fits(r) && p.fits(hashOf(r.ID)) && (p.id == "" || r.ID == p.id) {
		p.found = append(p.found, r)
	}
	return nil
}
