package rules

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var (
	dayFirst  = regexp.MustCompile(`=\s*["']?(\d{1,2})[-/.](\d{1,2})[-/.](\d{4})["']?\s*(?:#|$)`)
	yearFirst = regexp.MustCompile(`=\s*["']?(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})["']?\s*(?:#|$)`)
)

// date finds dates in other orders and with other marks than TOML's.
func (b *brokenLine) date() (slip, bool) {
	iso, start, end := otherDate(b.text)
	s := slip{code: codeDate, start: start, end: end, fix: "until = 2027-01-31", message: "a date is written year-month-day"}
	switch {
	case end > 0 && iso != "" && iso != b.text[start:end]:
		s.fix, s.safe = b.with(start, end, iso), oneReading(b.text[start:end])
	case end > 0 && iso == "":
		s.message = "there is no such day; a date is written year-month-day"
	case strings.Contains(strings.ToLower(b.said), "datetime") && !portRange.MatchString(b.stopToken().text):
		t := b.stopToken()
		s.start, s.end, s.message = t.start, t.end, "there is no such day, or it is not written year-month-day"
	default:
		return slip{}, false
	}
	return s, true
}

// otherDate finds a date behind "=", and writes it as TOML does; iso is empty
// where it is no day. end is 0 where there is none.
func otherDate(line string) (iso string, start, end int) {
	if m := dayFirst.FindStringSubmatchIndex(line); m != nil {
		return isoDate(line[m[2]:m[3]], line[m[4]:m[5]], line[m[6]:m[7]]), m[2], m[7]
	}
	if m := yearFirst.FindStringSubmatchIndex(line); m != nil {
		return isoDate(line[m[6]:m[7]], line[m[4]:m[5]], line[m[2]:m[3]]), m[2], m[7]
	}
	return "", 0, 0
}

// oneReading reports whether a date can be read in one way only: the year stands
// first, or one of the other numbers is no month.
func oneReading(date string) bool {
	parts := strings.FieldsFunc(date, func(r rune) bool { return r < '0' || r > '9' })
	if len(parts) != 3 || len(parts[0]) == 4 {
		return len(parts) == 3
	}
	a, _ := strconv.Atoi(parts[0])
	b, _ := strconv.Atoi(parts[1])
	return a > 12 || b > 12
}

// isoDate writes a date as TOML does. Day and month change places where only
// that makes a date; it is empty where nothing does.
func isoDate(day, month, year string) string {
	d, _ := strconv.Atoi(day)
	m, _ := strconv.Atoi(month)
	if m > 12 {
		d, m = m, d
	}
	y, _ := strconv.Atoi(year)
	if t := time.Date(y, time.Month(m), d, 0, 0, 0, 0, time.UTC); t.Day() != d || int(t.Month()) != m {
		return ""
	}
	return fmt.Sprintf("%s-%02d-%02d", year, m, d)
}
