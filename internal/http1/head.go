package http1

import "bytes"

// Limits bounds what a peer may send. The zero value is the default.
type Limits struct {
	HeadBytes int // of a head or a trailer section, start line included; 0 is 65,536
	Fields    int // field lines of a head or a trailer section; 0 is 100
}

const (
	defaultHeadBytes = 64 << 10
	defaultFields    = 100
	// The bounds of what offsets and counters hold, far above what makes sense.
	mostHeadBytes = 1 << 30
	mostFields    = 1 << 15
)

func (l Limits) headBytes() int { return bound(l.HeadBytes, defaultHeadBytes, mostHeadBytes) }
func (l Limits) fields() int    { return bound(l.Fields, defaultFields, mostFields) }

func bound(n, zero, most int) int {
	if n <= 0 {
		return zero
	}
	return min(n, most)
}

// progress is how far the reading of a head has come. Each byte is looked at a
// bounded number of times however slowly the head arrives.
type progress struct {
	begun   bool
	resumed bool // the head came in more than one piece
	empty   bool // an empty line was skipped
	started bool // the start line was read
	line    int  // offset of the line being read
	seen    int  // no line end before this offset
	looked  int  // length of the unfinished line when it was last looked at
	start   [2]int
}

// end is what Parse returns of a step. A head that is whole or refused is done with:
// the next step begins another.
func (p *progress) end(n int, err error) (int, error) {
	if n == 0 && err == nil {
		return 0, nil
	}
	*p = progress{}
	if err != nil {
		return 0, err
	}
	return n, nil
}

// opening reads start lines. Where the line is not whole yet it only looks for
// what can never become valid; skip says that an empty line is to be passed over.
type opening interface {
	startLine(line []byte, whole bool) (skip bool, err error)
	startTooLong() error
}

// read takes one step: 0 and no error where more bytes are needed, else the
// length of the head. The outcome does not depend on how the bytes were cut, though
// how early an error is known may.
func (p *progress) read(f *Fields, o opening, buf []byte, limits Limits) (int, error) {
	f.raw = buf
	limit := limits.headBytes()
	bounded := buf[:min(len(buf), limit)]
	for {
		i := bytes.IndexByte(bounded[p.seen:], '\n')
		if i < 0 {
			return 0, p.wait(f, o, bounded, limits, len(bounded) == limit)
		}
		end := p.seen + i
		content := bounded[p.line:end]
		if len(content) == 0 || content[len(content)-1] != '\r' {
			if err := p.look(f, o, content, limits, false); err != nil {
				return 0, err
			}
			return 0, ErrBareLF
		}
		content = content[:len(content)-1]
		if p.started && len(content) == 0 {
			if p.resumed { // the buffer may have moved since the start line was read
				_, err := o.startLine(buf[p.start[0]:p.start[1]], true)
				return end + 1, err
			}
			return end + 1, nil
		}
		if err := p.look(f, o, content, limits, true); err != nil {
			return 0, err
		}
		p.line, p.seen, p.looked = end+1, end+1, 0
	}
}

// look reads the line at hand, whole or as much of it as has arrived.
func (p *progress) look(f *Fields, o opening, content []byte, limits Limits, whole bool) error {
	if p.started {
		return f.field(content, p.line, whole, limits.fields())
	}
	skip, err := o.startLine(content, whole)
	switch {
	case err != nil:
		return err
	case skip && p.empty:
		return ErrEmptyLines
	case skip:
		p.empty = true
	case whole:
		p.started = true
		p.start = [2]int{p.line, p.line + len(content)}
	}
	return nil
}

// wait looks at an unfinished line, so that what can never become valid is
// refused at once. A long one is looked at again only when it has doubled.
func (p *progress) wait(f *Fields, o opening, bounded []byte, limits Limits, full bool) error {
	p.resumed, p.seen = true, len(bounded)
	tail := bounded[p.line:]
	if len(tail) > 0 && tail[len(tail)-1] == '\r' {
		tail = tail[:len(tail)-1] // its LF may still come
	}
	if full || len(tail) <= 64 || len(tail) >= 2*p.looked {
		p.looked = len(tail)
		if err := p.look(f, o, tail, limits, false); err != nil {
			return err
		}
	}
	switch {
	case !full:
		return nil
	case !p.started:
		return o.startTooLong()
	}
	return ErrHeadBytes
}
