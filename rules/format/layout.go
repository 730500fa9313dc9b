package format

import (
	"strings"
	"unicode/utf8"
)

// row is one line of the laid-out document. The code of a row with a text of
// several lines holds their line ends.
type row struct {
	code    string // with its indent, without the comment
	comment string
	column  int // of the comment, counted from 0
}

func (r row) text() string {
	switch {
	case r.comment == "":
		return strings.TrimRight(r.code, " ")
	case r.code == "":
		return r.comment
	}
	return r.code + strings.Repeat(" ", max(1, r.column-width(r.code))) + r.comment
}

// width is the number of characters of a row's last line.
func width(s string) int {
	return utf8.RuneCountInString(s[strings.LastIndexByte(s, '\n')+1:])
}

// lay turns items into rows.
func lay(all []item) []row {
	var rows []row
	equals := columns(all)
	for i, it := range all {
		switch it.kind {
		case blank:
			rows = append(rows, row{})
		case remark:
			rows = append(rows, row{comment: it.tokens[0].text})
		case header:
			if i > 0 && all[i-1].kind == pair {
				rows = append(rows, row{})
			}
			rows = append(rows, headerRow(it))
		case pair:
			w := &writer{}
			w.pair(it, equals[i])
			rows = append(rows, w.rows...)
		}
	}
	alignComments(rows)
	return rows
}

// columns gives for each pair the column of its "=": that of the longest key
// among its neighbours, which end at a blank line or a header.
func columns(all []item) []int {
	out := make([]int, len(all))
	for start := 0; start < len(all); {
		end, longest := start, 0
		for end < len(all) && (all[end].kind == pair || all[end].kind == remark) {
			longest = max(longest, width(all[end].key))
			end++
		}
		for i := start; i < end; i++ {
			out[i] = longest
		}
		start = end + 1
	}
	return out
}

func headerRow(it item) row {
	var r row
	for _, t := range it.tokens {
		if t.kind == comment {
			r.comment = t.text
		} else {
			r.code += t.text
		}
	}
	return r
}

// alignComments puts the comments of neighbouring rows below each other, two
// spaces behind the longest.
func alignComments(rows []row) {
	beside := func(r row) bool { return r.code != "" && r.comment != "" && strings.TrimSpace(r.code) != "" }
	for start := 0; start < len(rows); {
		end, longest := start, 0
		for end < len(rows) && beside(rows[end]) {
			longest = max(longest, width(rows[end].code))
			end++
		}
		for i := start; i < end; i++ {
			rows[i].column = longest + 2
		}
		start = end + 1
	}
}
