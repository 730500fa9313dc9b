package console

import (
	"net/http"
	"time"
)

// chart is the last day as it is drawn: a row of bars for what was allowed, and
// one of its own scale for what was refused, for the few refusals are what one
// looks for.
type chart struct {
	Rows  []chartRow
	Ticks []tick
	Hours []Slot // for the table behind it, the newest first
	Empty bool
}

type chartRow struct {
	Name, Class string
	Most, Sum   int
	Bars        []bar
}

// bar is one quarter of an hour: X in hundredths of the drawing's width, the rest in
// pixels.
type bar struct {
	X, Y, Height float64
	Start        time.Time
	Count        int
}

type tick struct {
	X    float64
	Text string
}

const chartHeight = 60.0 // of a row of bars, in pixels

// across is where the i-th of n stands, in hundredths of the width.
func across(i, n int) float64 { return 100 * float64(i) / float64(n) }

func chartOf(slots []Slot) chart {
	var c chart
	row := func(name, class string, count func(Slot) int) {
		r := chartRow{Name: name, Class: class}
		for _, s := range slots {
			r.Most, r.Sum = max(r.Most, count(s)), r.Sum+count(s)
		}
		for i, s := range slots {
			if n := count(s); n > 0 {
				h := max(2, chartHeight*float64(n)/float64(r.Most)) // one among thousands is seen too
				r.Bars = append(r.Bars, bar{across(i, len(slots)), chartHeight - h, h, s.Start, n})
			}
		}
		c.Rows = append(c.Rows, r)
	}
	row("allowed", "allowed", func(s Slot) int { return s.Allowed })
	row("refused", "denied", func(s Slot) int { return s.Denied })
	if row("would be refused", "would_deny", func(s Slot) int { return s.WouldDeny }); c.Rows[2].Sum == 0 {
		c.Rows = c.Rows[:2]
	}
	c.Empty = c.Rows[0].Sum+c.Rows[1].Sum == 0 && len(c.Rows) == 2
	for i, s := range slots {
		if s.Start.Hour()%6 == 0 && s.Start.Minute() == 0 {
			c.Ticks = append(c.Ticks, tick{across(i, len(slots)), s.Start.Format("15:04")})
		}
		c.hour(s)
	}
	return c
}

// hour adds a slot to its hour of the table.
func (c *chart) hour(s Slot) {
	start := s.Start.Add(-time.Duration(s.Start.Minute()) * time.Minute)
	if len(c.Hours) == 0 || !c.Hours[0].Start.Equal(start) {
		c.Hours = append([]Slot{{Start: start}}, c.Hours...)
	}
	h := &c.Hours[0]
	h.Allowed, h.Denied, h.WouldDeny = h.Allowed+s.Allowed, h.Denied+s.Denied, h.WouldDeny+s.WouldDeny
}

func (c *Console) apiDay(w http.ResponseWriter, _ *http.Request) {
	tell(w, http.StatusOK, map[string]any{"slots": c.house.Day()})
}
