package proxy

import (
	"bytes"
	"strconv"

	"gatehouse/internal/http1"
)

// The forms that a refusal can take; the first where the client does not care.
const (
	formText = "text/plain"
	formHTML = "text/html"
	formJSON = "application/json"
)

var forms = [...]string{formText, formHTML, formJSON}

const (
	// mostRanges and mostParams bound what of Accept is heard. Browsers send
	// seven ranges; a field of a thousand must not cost more than the refusal.
	mostRanges = 32
	mostParams = 8
)

// liking is how much a client likes a form: the quality its most specific range
// gives.
type liking struct {
	quality  float64
	specific int
}

// preferred is which of our forms the Accept fields like best (RFC 9110, section
// 12.5.1).
func preferred(f *http1.Fields) string {
	var likings [len(forms)]liking
	heard := 0
	for i := range f.Len() {
		name, list := f.Line(i)
		if len(name) != len("Accept") || !bytes.EqualFold(name, []byte("Accept")) {
			continue
		}
		for more := true; more && heard < mostRanges; heard++ {
			var member []byte
			member, list, more = bytes.Cut(list, []byte(","))
			hear(&likings, member)
		}
	}
	best := 0
	for i := range likings {
		if likings[i].quality > likings[best].quality {
			best = i
		}
	}
	return forms[best]
}

// hear takes one media range with its parameters.
func hear(likings *[len(forms)]liking, member []byte) {
	media, params, _ := bytes.Cut(member, []byte(";"))
	media = bytes.TrimSpace(media)
	for i, form := range forms {
		if level := covers(media, form); level > likings[i].specific {
			likings[i] = liking{quality(params), level}
		}
	}
}

// covers is how specifically a media range covers a form; 0: not at all.
func covers(media []byte, form string) int {
	slash := bytes.IndexByte([]byte(form), '/')
	switch {
	case bytes.EqualFold(media, []byte(form)):
		return 3
	case string(media) == "*/*":
		return 1
	case len(media) == slash+2 && media[slash+1] == '*' && bytes.EqualFold(media[:slash+1], []byte(form[:slash+1])):
		return 2
	}
	return 0
}

// quality is the weight among the parameters of a range, 1 where there is none.
func quality(params []byte) float64 {
	weight := 1.0
	for range mostParams {
		var param []byte
		param, params, _ = bytes.Cut(params, []byte(";"))
		param = bytes.TrimSpace(param)
		if len(param) > 2 && param[0]|0x20 == 'q' && param[1] == '=' {
			weight, _ = strconv.ParseFloat(string(param[2:min(len(param), 7)]), 64)
		}
		if len(params) == 0 {
			break
		}
	}
	return weight
}
