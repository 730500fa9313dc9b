package proxy

import (
	"bytes"
	"mime"
	"strings"

	"gatehouse/internal/http1"
	"gatehouse/policy"
)

// Bounds of a multipart upload: the header of one part, and the different types
// of its parts that are told apart.
const (
	mostPartHeader = 8 << 10
	mostPartTypes  = 64
)

// parts reads a multipart upload (RFC 2046, section 5.1; RFC 7578) as it passes,
// and judges the media type of each part. Nothing is kept but the beginning of a
// line. It is stricter than the RFCs: where two readers could see different
// parts (half a line end, a boundary that goes on, a part behind the end), the
// upload cannot be judged.
type parts struct {
	judge func(policy.MediaType) bool // false: the upload ends here

	delimiter []byte // "--" and the boundary; nil: there is none to go by
	state     partState
	line      []byte // of the line at hand, as much as is looked at
	long      bool   // it has more
	afterCR   bool   // it has ended: properly, if LF comes now
	afterCRLF bool   // the line before it ended as it should
	header    int    // octets of the part's header so far
	kinds     []string
}

type partState uint8

const (
	inPart   partState = iota // also in what stands before the first one
	inHeader                  // of a part
	inEnd                     // behind the last one
	given                     // up: it was let pass although it cannot be judged
)

// uploadRefused ends an upload of which a part is refused, or that is too large.
type uploadRefused struct{ verdict policy.Verdict }

func (u *uploadRefused) Error() string {
	return "the upload is refused: " + u.verdict.Reason.String()
}

// newParts reads the boundary of an upload; nil where it is no multipart.
func newParts(fields *http1.Fields, judge func(policy.MediaType) bool) *parts {
	if !strings.HasPrefix(contentType(fields).String(), "multipart/") {
		return nil
	}
	p := &parts{judge: judge, afterCRLF: true}
	boundary := boundaryOf(string(fields.Value(http1.ContentType)))
	if boundary != "" && !fields.Has(http1.ContentEncoding) { // what is compressed cannot be looked into
		p.delimiter = []byte("--" + boundary)
	}
	return p
}

// boundaryOf is the boundary that a Content-Type states, empty where readers could
// find different ones: some look for the word wherever it stands, and know neither
// escapes nor the continuations of RFC 2231.
func boundaryOf(contentType string) string {
	_, params, err := mime.ParseMediaType(contentType)
	boundary := params["boundary"]
	switch {
	case err != nil, strings.ContainsAny(contentType, `\*`),
		strings.Count(strings.ToLower(contentType), "boundary=") != 1,
		len(boundary) > 70, strings.TrimRight(boundary, " ") != boundary, strings.Trim(boundary, boundaryBytes) != "":
		return ""
	}
	return boundary
}

// boundaryBytes are those of a boundary (RFC 2046, section 5.1.1).
const boundaryBytes = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'()+_,-./:=? "

// take reads the next piece of content, and reports whether it may pass.
func (p *parts) take(b []byte) bool {
	if p.delimiter == nil && p.state != given {
		return p.unclear()
	}
	for len(b) > 0 && p.state != given {
		if p.afterCR {
			p.afterCR = false
			proper := b[0] == '\n'
			if !p.endLine(proper) {
				return false
			}
			if proper {
				b = b[1:]
			}
			continue
		}
		i := bytes.IndexAny(b, "\r\n")
		if i < 0 {
			return p.keep(b)
		}
		if !p.keep(b[:i]) {
			return false
		}
		if p.afterCR = b[i] == '\r'; !p.afterCR && !p.endLine(false) {
			return false
		}
		b = b[i+1:]
	}
	return true
}

// end reports whether the upload may end here.
func (p *parts) end() bool {
	if p.state == given || p.state == inEnd {
		return true
	}
	if p.state == inPart && p.afterCRLF && bytes.Equal(bytes.TrimRight(p.line, " \t"), append(bytes.Clone(p.delimiter), "--"...)) {
		return true // the last delimiter needs no line end of its own
	}
	return p.unclear()
}

// unclear judges a part of which nobody can tell the type.
func (p *parts) unclear() bool {
	p.state = given
	return p.judge(policy.MediaType{})
}

// keep adds to the line at hand what is looked at of it.
func (p *parts) keep(b []byte) bool {
	room := len(p.delimiter) + 80 - len(p.line) // the delimiter, "--", and padding
	if p.state == inHeader {
		if p.header += len(b); p.header > mostPartHeader {
			return p.unclear()
		}
		room = len(b)
	}
	if room = max(room, 0); len(b) > room {
		p.line, p.long = append(p.line, b[:room]...), true
		return true
	}
	p.line = append(p.line, b...)
	return true
}

// endLine takes a whole line, and whether CRLF ended it.
func (p *parts) endLine(whole bool) bool {
	line, long, proper := p.line, p.long, p.afterCRLF
	p.line, p.long, p.afterCRLF = p.line[:0], false, whole
	if p.state == inHeader {
		return p.endHeaderLine(line, whole)
	}
	rest, delimits := bytes.CutPrefix(line, p.delimiter)
	if !delimits {
		return true
	}
	last := bytes.HasPrefix(rest, []byte("--"))
	switch padding := bytes.TrimPrefix(rest, []byte("--")); {
	case long, !whole, !proper, p.state == inEnd, len(bytes.Trim(padding, " \t")) > 0:
		return p.unclear()
	case last:
		p.state = inEnd
	default:
		p.state, p.header, p.kinds = inHeader, 0, p.kinds[:0]
	}
	return true
}

// endHeaderLine takes a line of a part's header. An empty one ends it.
func (p *parts) endHeaderLine(line []byte, whole bool) bool {
	if !whole || len(line) > 0 && (line[0] == ' ' || line[0] == '\t') {
		return p.unclear() // a folded line may hide what the one before it says
	}
	if len(line) > 0 {
		name, value, found := strings.Cut(string(line), ":")
		switch {
		case !found || !isToken(name) || strings.ContainsFunc(value, isControl):
			return p.unclear()
		case strings.EqualFold(name, "Content-Type"):
			p.kinds = append(p.kinds, value)
		}
		return true
	}
	p.state = inPart
	kind := policy.DeclaredType(p.kinds)
	switch {
	case len(p.kinds) == 0:
		kind, _ = policy.ParseMediaType("text/plain") // RFC 7578, section 4.4
	case strings.HasPrefix(kind.String(), "multipart/"), strings.HasPrefix(kind.String(), "message/"):
		return p.unclear() // parts within parts
	}
	return p.judge(kind)
}

// isToken and isControl tell what a field name is made of, and what the value of
// no field holds (RFC 9110, sections 5.1 and 5.5).
func isToken(s string) bool {
	for i := range len(s) {
		if !tokenByte(s[i]) {
			return false
		}
	}
	return s != ""
}

func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

// judgesParts has the parts of an upload judged where the rules speak of what may
// be sent.
func (u *upload) judgesParts(e *exchange) {
	if !e.policy.JudgesParts(e.passage.newest()) {
		return
	}
	kinds := map[policy.MediaType]bool{}
	u.parts = newParts(&e.head.Fields, func(kind policy.MediaType) bool {
		if kinds[kind] {
			return true
		}
		if len(kinds) == mostPartTypes {
			kind = policy.MediaType{}
		}
		kinds[kind] = true
		v := e.passage.narrow(func(newest policy.Permit) (policy.Verdict, policy.Permit) {
			return e.policy.Part(policy.Part{At: e.server.deps.Now(), Permit: newest, Type: kind})
		})
		if !v.Allowed() || v.Would {
			u.judged.Store(&v)
		}
		return v.Allowed()
	})
}

// content looks at what the body says. An error ends the upload: it never looks
// complete to the origin.
func (u *upload) content(b []byte) error {
	if u.parts.take(b) {
		return nil
	}
	return &uploadRefused{*u.judged.Load()}
}

// ends looks at the end of the body.
func (u *upload) ends() error {
	if u.parts.end() {
		return nil
	}
	return &uploadRefused{*u.judged.Load()}
}

// verdict is what was decided about the parts where that is not that they may
// pass.
func (u *upload) verdict() (v policy.Verdict, ok bool) {
	if u == nil || u.judged.Load() == nil {
		return policy.Verdict{}, false
	}
	return *u.judged.Load(), true
}
