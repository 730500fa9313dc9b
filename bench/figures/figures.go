// Package figures is how measurements are told: what stands in a table, and how the
// table comes into a document. It measures nothing.
package figures

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
)

// Median is the middle of at least one value, in any order; of an even number the
// mean of the two in the middle.
func Median(found []float64) float64 {
	s := slices.Sorted(slices.Values(found))
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}

// Short is a value with three digits or so: more were not measured.
func Short(v float64) string {
	switch a := max(v, -v); {
	case a >= 1000:
		return Thousands(int(v + 0.5))
	case a >= 100 || max(v-math.Round(v), math.Round(v)-v) < 0.005:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

// Thousands is a number, not negative, with a comma behind each three digits.
func Thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", Thousands(n/1000), n%1000)
}

// Marks are the lines of a document between which a table lives.
type Marks struct{ Begin, End string }

// Replace puts a table between the marks of a file. An error holds the table, so that
// a long measurement is not lost.
func (m Marks) Replace(file, table string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("%w\nThe table that could not be written:\n%s", err, table)
	}
	before, rest, found := strings.Cut(string(text), m.Begin)
	_, after, ended := strings.Cut(rest, m.End)
	if !found || !ended {
		return fmt.Errorf("%s lacks the lines %q and %q.\nThe table that could not be written:\n%s", file, m.Begin, m.End, table)
	}
	return os.WriteFile(file, []byte(before+m.Begin+"\n\n"+table+"\n"+m.End+after), 0o644)
}
