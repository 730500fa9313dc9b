package flow

import (
	"bytes"
	"cmp"
	"slices"
)

// needle is a text that is looked for by that octet of it which is rarest where it
// is looked for: in a log of numbers and of words that stand in every line, most
// texts begin with an octet that holds up at each step.
type needle struct {
	text          []byte
	at            int // of the octet
	often, stands int // how often the octet, and the text, stand in a sample
}

// sampled is how much of a block tells how frequent octets and marks are.
const sampled = 64 << 10

// needles are marks, all of which a line must hold, in the order in which to look
// for them: the rarest first.
func needles(marks [][]byte, block []byte) []needle {
	block = block[:min(len(block), sampled)]
	var often [256]int
	for _, c := range block {
		often[c]++
	}
	list := make([]needle, len(marks))
	for i, mark := range marks {
		n := needle{text: mark}
		for at, c := range mark {
			if often[c] < often[mark[n.at]] {
				n.at = at
			}
		}
		n.often, n.stands = often[mark[n.at]], n.count(block)
		list[i] = n
	}
	slices.SortStableFunc(list, func(a, b needle) int {
		return cmp.Or(cmp.Compare(a.stands, b.stands), cmp.Compare(a.often, b.often))
	})
	return list
}

// count is how often the text stands in s.
func (n *needle) count(s []byte) (times int) {
	for at := n.index(s); at >= 0; at = n.index(s) {
		times++
		s = s[at+len(n.text):]
	}
	return times
}

// index is where the text stands in s for the first time; -1: nowhere.
func (n *needle) index(s []byte) int {
	for from := n.at; from < len(s); {
		i := bytes.IndexByte(s[from:], n.text[n.at])
		begin := from + i - n.at
		if i < 0 || begin+len(n.text) > len(s) {
			break
		}
		if bytes.Equal(s[begin:begin+len(n.text)], n.text) {
			return begin
		}
		from += i + 1
	}
	return -1
}
