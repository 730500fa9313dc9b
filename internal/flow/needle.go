package flow

import "bytes"

// needle is a text that is looked for by that octet of it which is rarest where it
// is looked for: in a log of numbers and of words that stand in every line, most
// texts begin with an octet that holds up at each step.
type needle struct {
	text []byte
	at   int // of the octet
}

// sampled is how much of a block tells how frequent octets are.
const sampled = 32 << 10

// rarest is what to look for of several marks, all of which a line must hold: the
// one whose rarest octet is the rarest of all, and of those the longest.
func rarest(marks [][]byte, block []byte) *needle {
	var often [256]int
	for _, c := range block[:min(len(block), sampled)] {
		often[c]++
	}
	var best *needle
	for _, mark := range marks {
		n := &needle{text: mark}
		for i, c := range mark {
			if often[c] < often[mark[n.at]] {
				n.at = i
			}
		}
		if best == nil || n.rarer(best, &often) {
			best = n
		}
	}
	return best
}

func (n *needle) rarer(than *needle, often *[256]int) bool {
	mine, its := often[n.text[n.at]], often[than.text[than.at]]
	return mine < its || mine == its && len(n.text) > len(than.text)
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
