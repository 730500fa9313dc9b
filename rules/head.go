package rules

import (
	"slices"
	"strings"
	"time"

	"gatehouse/policy"
)

// head reads version, mode and monitor_until.
func (c *compiler) head() {
	switch v := c.file.Version; {
	case v == nil:
		if !c.doc.lacks(c.doc.root) {
			c.doc.reportFile(codeVersion, "version = 1", "the file has no version")
		}
	case v.Data != int64(1):
		c.doc.report(codeVersion, v.at(), "version = 1", "this gatehouse reads version 1")
	}
	mode := c.oneOf(c.file.Mode, "enforce", "monitor")
	if mode == "monitor" {
		c.spec.Mode = policy.Monitor
	}
	if c.file.MonitorUntil != nil {
		c.spec.MonitorUntil = c.lastMoment(c.file.MonitorUntil)
	}
}

// oneOf reads a text that can only be one of a few words; empty where it is
// absent or none of them.
func (c *compiler) oneOf(t text, words ...string) string {
	if !t.stated() || slices.Contains(words, t.value) {
		return t.value
	}
	fix := ""
	if near, ok := meantWord(t.value, words); ok {
		fix = c.doc.replaced(t.at(), `"`+near+`"`)
	}
	c.doc.report(codeValue, t.at(), fix, "%q is none of the values this key has: %s", t.value, strings.Join(words, ", "))
	return ""
}

// meantWord is the word that another was probably meant to be; yes and no of
// inspect are always and never.
func meantWord(s string, words []string) (string, bool) {
	s = strings.ToLower(s)
	yesNo := map[string]string{"true": "always", "false": "never"}[boolWords[s]]
	if slices.Contains(words, yesNo) {
		return yesNo, true
	}
	return closest(s, words)
}

// lastMoment is the first moment after the last day (or moment) that a key
// names; the zero time where it cannot be read.
func (c *compiler) lastMoment(s *scalar) time.Time {
	t, day, ok := c.date(s)
	switch {
	case !ok:
		return time.Time{}
	case day:
		return time.Date(t.Year(), t.Month(), t.Day()+1, 0, 0, 0, 0, c.env.Zone)
	}
	return t
}

var (
	dateForms   = []string{time.DateOnly}
	momentForms = []string{"2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04"}
)

// date reads a TOML date, with or without time, or the same in quotes. Without
// an offset it is of the appliance's zone.
func (c *compiler) date(s *scalar) (t time.Time, day, ok bool) {
	switch v := s.Data.(type) {
	case time.Time:
		t, day, ok = c.tomlDate(v)
	case string:
		t, day, ok = c.quotedDate(strings.TrimSpace(v))
	default:
		c.doc.wrongType(s.Node, "a date like 2027-01-31")
		return time.Time{}, false, false
	}
	if ok && t.Year() >= 1970 && t.Year() <= 9999 {
		return t, day, true
	}
	fix := "until = 2027-01-31"
	if ok {
		c.doc.report(codeDate, s.at(), fix, "no rule ends in the year %d; a date is written year-month-day, like 2027-01-31", t.Year())
		return time.Time{}, false, false
	}
	if iso, _, _ := otherDate("=" + c.doc.text[s.Start:s.End]); iso != "" {
		fix = c.doc.replaced(s.at(), iso)
	}
	c.doc.report(codeDate, s.at(), fix, "this is no date; a date is written year-month-day, like 2027-01-31")
	return time.Time{}, false, false
}

// tomlDate places a date of the decoder, which marks those without offset by
// the names of their zones.
func (c *compiler) tomlDate(v time.Time) (t time.Time, day, ok bool) {
	switch v.Location().String() {
	case "date-local":
		return v, true, true
	case "time-local":
		return time.Time{}, false, false
	case "datetime-local":
		return time.Date(v.Year(), v.Month(), v.Day(), v.Hour(), v.Minute(), v.Second(), v.Nanosecond(), c.env.Zone), false, true
	}
	return v, false, true
}

func (c *compiler) quotedDate(s string) (t time.Time, day, ok bool) {
	for _, form := range dateForms {
		if t, err := time.Parse(form, s); err == nil {
			return t, true, true
		}
	}
	for _, form := range momentForms {
		if t, err := time.ParseInLocation(form, s, c.env.Zone); err == nil {
			return t, false, true
		}
	}
	t, err := time.Parse(time.RFC3339, s)
	return t, false, err == nil
}
