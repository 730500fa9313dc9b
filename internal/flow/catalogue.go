package flow

import (
	"bufio"
	"context"
	"errors"
	"hash/maphash"
	"io"
	"os"
	"slices"
	"sync"
)

// Catalogue knows of the newest lines of a decision log in JSON what they are looked
// for by, and where they stand, so that a search reads those lines alone which fit.
// It follows the files, not the gate: whatever writes them, and however they are
// renamed, cut or deleted, what it gives stands in them then. NewCatalogue makes
// one; it is safe for concurrent use, one search at a time.
//
// A line costs it 32 octets of memory, and each drawer of 4096 lines the different words in
// them.
type Catalogue struct {
	path string
	most int // lines

	mu      sync.Mutex
	shelves []*shelf // of the files, the oldest first
	whole   bool     // there is no line before those that are catalogued
	octets  int64    // of lines that were read so far
}

// NewCatalogue makes a Catalogue of at least the last so many lines of the log at
// path. It reads nothing yet.
func NewCatalogue(path string, lines int) *Catalogue { return &Catalogue{path: path, most: lines} }

// Update catalogues what was written since the last time. Every search does so
// first; who calls it now and then keeps searches quick.
func (c *Catalogue) Update(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.close()
	return c.update(ctx)
}

// Newest gives the newest Records that fit, at most n, newest first, and none of those
// that are known already. Lines of repeats are passed over. What was found until
// something could not be read is given.
func (c *Catalogue) Newest(ctx context.Context, f Filter, n int, known []*Record) (found []*Record, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.close()
	return c.pick(ctx, pick{from: &f, fits: unknown(known), most: n})
}

// pick updates the catalogue and looks through it.
func (c *Catalogue) pick(ctx context.Context, p pick) ([]*Record, error) {
	err := c.update(ctx)
	return c.pickBelow(ctx, p, err, place{shelf: len(c.shelves)})
}

// pickBelow looks through what is catalogued before a place. err is what was wrong so far.
func (c *Catalogue) pickBelow(ctx context.Context, p pick, err error, from place) ([]*Record, error) {
	for i := min(from.shelf, len(c.shelves)-1); i >= 0; i-- {
		if failed := c.shelves[i].pick(ctx, &p, from.within(i)); failed != nil {
			err = failed
			break
		}
	}
	c.octets += p.octets
	return p.found, err
}

// Find looks for a decision, of which the end is given where it was told of while it
// was open. whole reports whether no line of the log was left out: if not, an older one
// may hold it.
func (c *Catalogue) Find(ctx context.Context, id string) (found *Record, whole bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.close()
	wanted := hashOf(id)
	list, err := c.pick(ctx, pick{from: &Filter{}, fits: func(of uint64) bool { return of == wanted }, id: id, most: 1})
	if len(list) > 0 {
		return list[0], true, nil
	}
	return nil, c.whole && err == nil, err
}

// update brings the shelves up to what the files hold, and leaves the files open
// which they stand for.
func (c *Catalogue) update(ctx context.Context) error {
	names, err := Pieces(c.path)
	if err != nil {
		return err
	}
	had, room := c.shelves, c.most
	c.shelves, c.whole = nil, true
	for _, name := range slices.Backward(append(names, c.path)) {
		if room <= 0 {
			c.whole = false
			break
		}
		s, failed := shelfOf(name, had)
		if errors.Is(failed, os.ErrNotExist) {
			continue // not begun, or deleted meanwhile
		}
		if failed == nil {
			c.shelves = append(c.shelves, s)
			had = slices.DeleteFunc(had, func(h *shelf) bool { return h == s })
			before := s.done
			failed = s.extend(ctx, room)
			c.octets += s.done - max(before, s.from)
			room -= s.lines()
		}
		if failed != nil {
			c.whole, err = false, failed
			break
		}
	}
	slices.Reverse(c.shelves)
	c.trim(-room)
	c.whole = c.whole && (len(c.shelves) == 0 || c.shelves[0].from == 0)
	return err
}

// trim drops the oldest drawers that are beyond what is wanted.
func (c *Catalogue) trim(over int) {
	for _, s := range c.shelves {
		for len(s.drawers) > 0 && len(s.drawers[0].lines) <= over {
			over -= len(s.drawers[0].lines)
			s.from = s.drawers[0].end()
			s.drawers = slices.Delete(s.drawers, 0, 1)
		}
		if len(s.drawers) > 0 {
			return
		}
	}
}

// close closes the files that update opened.
func (c *Catalogue) close() {
	for _, s := range c.shelves {
		s.file.Close()
	}
}

// shelf is the catalogue of one file, from an offset to another.
type shelf struct {
	file       *os.File
	info       os.FileInfo
	head       []byte // what the file begins with: its first decision, whose id no other file has there
	from, done int64
	drawers    []*drawer // the oldest first
}

// headBytes is how much of a file tells it from others: a time and an id.
const headBytes = 64

// shelfOf opens a file, and finds its shelf among those there were. A file that is
// shorter than it was has been cut, and one that begins otherwise only has the
// place on the disk of one that is gone: they get a new one.
func shelfOf(name string, had []*shelf) (*shelf, error) {
	f, info, err := OpenPiece(name)
	if err != nil {
		return nil, err
	}
	head := make([]byte, headBytes)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		f.Close()
		return nil, err
	}
	s := &shelf{head: head[:n]}
	for _, h := range had {
		if os.SameFile(h.info, info) && h.done <= info.Size() && len(h.head) == headBytes && string(h.head) == string(s.head) {
			s = h
		}
	}
	s.file, s.info = f, info
	return s, nil
}

// lines is how many are catalogued.
func (s *shelf) lines() (n int) {
	for _, d := range s.drawers {
		n += len(d.lines)
	}
	return n
}

// extend catalogues what was written since, but no more than so many of the last lines.
func (s *shelf) extend(ctx context.Context, most int) error {
	size := s.info.Size()
	if size == s.done {
		return nil
	}
	begin, err := lastLines(s.file, s.done, size, most)
	if err != nil {
		return err
	}
	if begin > s.done || len(s.drawers) == 0 {
		s.from, s.drawers = begin, nil
	}
	s.done = begin
	in := bufio.NewReaderSize(io.NewSectionReader(s.file, begin, size-begin), longestLine)
	for {
		line, err := in.ReadSlice('\n')
		length, whole := int64(len(line)), err == nil
		for errors.Is(err, bufio.ErrBufferFull) { // none of ours
			line, err = in.ReadSlice('\n')
			length += int64(len(line))
		}
		switch {
		case errors.Is(err, io.EOF): // its end is being written
			return nil
		case err != nil:
			return err
		case !whole:
			line = nil
		}
		d := s.open()
		d.add(line, length)
		s.done += length
		if len(d.lines)%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// open is the drawer that has room.
func (s *shelf) open() *drawer {
	if n := len(s.drawers); n > 0 && !s.drawers[n-1].full() {
		return s.drawers[n-1]
	}
	d := newDrawer(s.done)
	s.drawers = append(s.drawers, d)
	return d
}

// lastLines is where the last so many lines of a file begin, but not before done.
func lastLines(f *os.File, done, size int64, lines int) (int64, error) {
	block := make([]byte, min(searchBlock, size-done))
	for end := size; end > done; {
		part := block[:min(int64(len(block)), end-done)]
		end -= int64(len(part))
		if _, err := f.ReadAt(part, end); err != nil {
			return 0, err
		}
		for at := len(part) - 1; at >= 0; at-- {
			if part[at] != '\n' {
				continue
			}
			if lines--; lines < 0 {
				return end + int64(at) + 1, nil
			}
		}
	}
	return done, nil
}

var idSeed = maphash.MakeSeed()

// hashOf is what stands for an id; never 0.
func hashOf(id string) uint64 { return max(1, maphash.String(idSeed, id)) }
