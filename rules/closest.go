package rules

// closest is the candidate that s was probably meant to be: the nearest one,
// where at most a third of its letters (and at least one) would have to change.
func closest(s string, candidates []string) (string, bool) {
	best, at := "", 0
	for _, c := range candidates {
		most := max(1, len(c)/3)
		if len(s) > len(c)+most || len(c) > len(s)+most {
			continue // so many letters would have to change at least
		}
		d := distance(s, c)
		if d <= most && (best == "" || d < at) {
			best, at = c, d
		}
	}
	return best, best != ""
}

// distance is the number of letters to insert, remove, change or swap with a
// neighbour to make one word the other (optimal string alignment).
func distance(a, b string) int {
	var before, last, row []int
	last = make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row = make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
