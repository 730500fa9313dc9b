package format

import "slices"

// sortRun sorts the keys of a run of pairs and remarks without blank lines.
func sortRun(run []item, order []string) {
	type block struct {
		items []item
		rank  int
	}
	var blocks []block
	start := 0
	for i, it := range run {
		if it.kind != pair {
			continue
		}
		rank := slices.Index(order, it.key)
		if rank < 0 {
			rank = len(order)
		}
		blocks = append(blocks, block{slices.Clone(run[start : i+1]), rank})
		start = i + 1
	}
	slices.SortStableFunc(blocks, func(a, b block) int { return a.rank - b.rank })
	n := 0
	for _, b := range blocks {
		n += copy(run[n:], b.items)
	}
}
