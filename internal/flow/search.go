package flow

import (
	"bytes"
	"context"
	"errors"
	"os"
	"slices"
	"syscall"
)

// Search is what is looked for in a decision log in JSON.
type Search struct {
	// Marks are pieces of text that a line must hold to be looked at: see Mark. They
	// are what makes a search quick; Fits decides.
	Marks [][]byte
	Fits  func(*Record) bool // nil: everything does
	Most  int                // how many Records are wanted
	Lines int                // how many lines are looked through, the newest first

	needles []needle // of Marks, the rarest first; nil: not made yet
}

// Mark is how a field with a value of plain letters stands in a line of JSON; nil
// where the value is written otherwise there.
func Mark(field, value string) []byte {
	for _, c := range []byte(value) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return nil
		}
	}
	return []byte(`"` + field + `":"` + value + `"`)
}

// searchBlock is how much of a log is read at once, from its end.
const searchBlock = 256 << 10

// Newest gives the newest Records that are looked for, newest first, from the
// present piece of the log at path and those before it. Lines of repeats are
// passed over. What cannot be read ends the search: what was found until then is
// given.
func (s Search) Newest(ctx context.Context, path string) (found []*Record, err error) {
	names, err := Pieces(path)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Backward(append(names, path)) {
		err := s.in(ctx, name, &found)
		switch {
		case errors.Is(err, os.ErrNotExist): // not begun, or deleted meanwhile
		case err != nil:
			return found, err
		}
		if len(found) >= s.Most || s.Lines <= 0 {
			break
		}
	}
	return found, nil
}

// OpenPiece opens a piece to be read, which the caller closes. What is no plain file (a
// log may go to a device) holds nothing that could be read again, or has no end: the
// error is fs.ErrNotExist then.
func OpenPiece(name string) (*os.File, os.FileInfo, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe would wait for its other end
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &os.PathError{Op: "read", Path: name, Err: os.ErrNotExist}
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// in searches one piece from its end.
func (s *Search) in(ctx context.Context, name string, found *[]*Record) error {
	f, info, err := OpenPiece(name)
	if err != nil {
		return err
	}
	defer f.Close()
	end := info.Size()
	var rest []byte                                        // the end of a line whose beginning is in the block before
	buf := make([]byte, min(end, searchBlock)+longestLine) // of a block and the rest
	for end > 0 && len(*found) < s.Most && s.Lines > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		size := min(end, searchBlock)
		block := buf[:size:min(int64(len(buf)), size+int64(len(rest)))]
		if _, err := f.ReadAt(block, end-size); err != nil {
			return err
		}
		end -= size
		block = append(block, rest...)
		begin := 0
		if end > 0 {
			if begin = bytes.IndexByte(block, '\n') + 1; begin == 0 && len(block) < longestLine {
				rest = slices.Clone(block)
				continue
			}
		}
		rest = slices.Clone(block[:min(begin, longestLine)])
		s.block(block[begin:], found)
	}
	return nil
}

// block searches whole lines, the last first.
func (s *Search) block(lines []byte, found *[]*Record) {
	if len(s.Marks) > 0 {
		s.marked(lines, found)
		return
	}
	for len(lines) > 0 && len(*found) < s.Most && s.Lines > 0 {
		at := bytes.LastIndexByte(lines[:len(lines)-1], '\n') + 1
		s.Lines--
		s.line(lines[at:], found)
		lines = lines[:at]
	}
}

// marked looks only at lines that hold one mark: to look for one in a block at once
// is many times quicker than line by line.
func (s *Search) marked(lines []byte, found *[]*Record) {
	n := bytes.Count(lines, []byte{'\n'})
	for ; n > s.Lines; n-- {
		lines = lines[bytes.IndexByte(lines, '\n')+1:]
	}
	s.Lines -= n
	var spans [][2]int
	if s.needles == nil {
		s.needles = needles(s.Marks, lines)
	}
	for at := 0; ; {
		i := s.needles[0].index(lines[at:])
		if i < 0 {
			break
		}
		begin := bytes.LastIndexByte(lines[:at+i], '\n') + 1
		end := len(lines)
		if n := bytes.IndexByte(lines[at+i:], '\n'); n >= 0 {
			end = at + i + n + 1
		}
		spans, at = append(spans, [2]int{begin, end}), end
	}
	for _, span := range slices.Backward(spans) {
		line := lines[span[0]:span[1]]
		if len(*found) < s.Most && !slices.ContainsFunc(s.needles[1:], func(n needle) bool { return n.index(line) < 0 }) {
			s.line(line, found)
		}
	}
}

func (s *Search) line(line []byte, found *[]*Record) {
	if r, err := ParseLine(line); err == nil && r.Repeats == 0 && (s.Fits == nil || s.Fits(r)) {
		*found = append(*found, r)
	}
}
