package flow

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// FileConfig says where a File is and how much of it is kept.
type FileConfig struct {
	Path string
	// Days is how long a line is kept, at least until the piece it is in is
	// that old; 0: no bound.
	Days int
	// Bytes bounds all pieces together; 0: no bound.
	Bytes int64
	Now   func() time.Time // nil: time.Now
	// Elapsed is the time by a clock that nobody sets, since whenever; nil: since the
	// File was made.
	Elapsed func() time.Duration
	// Synchronised reports whether the clock is known to be right, by NTP say; nil: it
	// is not. What is done about one that may be wrong: see present.
	Synchronised func() bool
}

// File is a log file that is cut into pieces: Path holds what is being written,
// Path-20060102T150405Z what was finished at that moment. A new piece is begun
// each day (UTC) and when the present one is an eighth of Bytes (at most 64
// MiB). The oldest pieces are deleted, for their age only by a clock that may be
// believed. A clock that is set back begins no piece,
// and no piece gets a name that stands before those of older ones. One goroutine may use it at a time; the
// zero File is not usable, NewFile makes one.
type File struct {
	FileConfig
	file   *os.File
	opened os.FileInfo // of file
	size   int64
	day    string
	torn   bool // the last write was cut short: the next begins a new line
	steady steadiness
	kept   int64 // octets of the finished pieces, when they were listed last
	stuck  error // why no new piece could be begun; nil: one could
	tried  time.Duration
	aside  string // the name of the piece that is open, where it is finished already
}

// tryAgain is how long after an attempt that failed a new piece is begun again.
const tryAgain = time.Second

// stamp is how the moment stands in a finished piece's name.
const stamp = "20060102T150405Z"

// NewFile makes a File. It is opened by the first Write, and again by a later
// one where that fails: a directory that is missing today may be mounted
// tomorrow.
func NewFile(c FileConfig) *File {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Elapsed == nil {
		begin := time.Now()
		c.Elapsed = func() time.Duration { return time.Since(begin) }
	}
	if c.Synchronised == nil {
		c.Synchronised = func() bool { return false }
	}
	return &File{FileConfig: c}
}

// Write appends whole lines. After an error the file is opened anew.
func (f *File) Write(lines []byte) (n int, err error) {
	for n < len(lines) && err == nil {
		var wrote int
		wrote, err = f.write(f.part(lines[n:]))
		n += wrote
	}
	return n, err
}

// part is as many of the lines as one piece holds, at least one.
func (f *File) part(lines []byte) []byte {
	most := int(f.piece())
	if f.Bytes == 0 || len(lines) <= most {
		return lines
	}
	end := bytes.LastIndexByte(lines[:most], '\n') + 1
	if end == 0 {
		end = bytes.IndexByte(lines, '\n') + 1
	}
	if end == 0 {
		return lines
	}
	return lines[:end]
}

func (f *File) write(lines []byte) (int, error) {
	if err := f.ready(int64(len(lines))); err != nil {
		return 0, err
	}
	if f.torn {
		if _, err := f.file.Write([]byte{'\n'}); err != nil {
			return 0, f.fail(err)
		}
		f.torn = false
	}
	n, err := f.file.Write(lines)
	f.size += int64(n)
	f.torn = err != nil && n > 0
	if err != nil {
		return n, f.fail(err)
	}
	return n, nil
}

// Close closes the present piece.
func (f *File) Close() error {
	if f.file == nil {
		return nil
	}
	err := f.file.Close()
	f.file = nil
	return err
}

// Tend deletes pieces that are too old or too many.
func (f *File) Tend() error {
	pieces, err := f.pieces()
	if err != nil {
		return err
	}
	dated(pieces, f.Now())
	present, known := f.present(pieces)
	oldest := present.AddDate(0, 0, -f.Days)
	total := f.piece()
	var errs []error
	for _, p := range slices.Backward(pieces) { // newest first
		total += p.size
		if f.Days > 0 && known && !p.at.After(oldest) || f.Bytes > 0 && total > f.Bytes {
			errs = append(errs, os.Remove(p.path))
		}
	}
	return errors.Join(errs...)
}

// fail closes the file so that the next Write opens it anew.
func (f *File) fail(err error) error {
	f.file.Close()
	f.file = nil
	return err
}

// ready opens the file, and begins a new piece where n more octets or the day
// ask for it.
func (f *File) ready(n int64) error {
	if f.file != nil && !f.there() {
		if err := f.reopen(); err != nil {
			return f.goOn(n, err)
		}
	}
	if f.file == nil {
		if err := f.open(); err != nil {
			return err
		}
	}
	today := f.Now().UTC().Format(time.DateOnly)
	if f.size == 0 || today < f.day { // begun now, or the clock was set back
		f.day = today
	}
	if f.day == today && (f.Bytes == 0 || f.size == 0 || f.size+n <= f.piece()) {
		return nil
	}
	if err := f.turn(today); err != nil {
		return f.goOn(n, err)
	}
	return nil
}

// turn begins a new piece. The present one stays open until the new one is: where there
// is no descriptor for it, or the folder takes no names, lines go on into the present.
func (f *File) turn(today string) error {
	if f.stuck != nil && f.Elapsed()-f.tried < tryAgain {
		return f.stuck
	}
	f.tried = f.Elapsed()
	if f.aside, f.stuck = f.finish(); f.stuck != nil {
		return f.stuck
	}
	present := f.file
	if f.stuck = f.open(); f.stuck != nil {
		return f.stuck
	}
	f.day = today
	return errors.Join(present.Close(), f.Tend())
}

// goOn has the present piece grow beyond its size where no new one can be begun, within
// what all pieces may have.
func (f *File) goOn(n int64, err error) error {
	if f.file == nil || f.Bytes > 0 && f.kept+f.size+n > f.Bytes {
		return err
	}
	return nil
}

// Stuck is why no new piece could be begun, when it was tried last: lines go on into the
// present piece, until the bound of all of them; nil: one could.
func (f *File) Stuck() error { return f.stuck }

// reopen opens Path, under which there is another file by now, or none. Where that fails
// and the piece that is open was finished a moment ago, it stays open.
func (f *File) reopen() error {
	present := f.file
	err := f.open()
	if err == nil {
		f.stuck = nil
		return present.Close()
	}
	if info, gone := os.Stat(f.aside); gone != nil || !os.SameFile(info, f.opened) {
		f.Close()
	}
	return err
}

// there reports whether Path is still the file that is open. Whoever took it away,
// put another in its place or moved it aside wants no more in it, and what was
// written to a file that has no name is lost without a word. How large it is by now
// counts, not what this File has written.
func (f *File) there() bool {
	info, err := os.Stat(f.Path)
	if err != nil || !os.SameFile(info, f.opened) {
		return false
	}
	f.size = info.Size()
	return true
}

// piece is the size at which a piece is finished.
func (f *File) piece() int64 { return min(f.Bytes/8, 64<<20) }

func (f *File) open() error {
	if err := os.MkdirAll(filepath.Dir(f.Path), 0o750); err != nil {
		return err
	}
	file, err := os.OpenFile(f.Path, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o640)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return err
	}
	f.file, f.opened, f.size, f.torn, f.aside = file, info, info.Size(), false, ""
	if f.size > 0 { // of an earlier run: its day is the day it was last written
		f.day = info.ModTime().UTC().Format(time.DateOnly)
		last := make([]byte, 1)
		_, err := file.ReadAt(last, f.size-1)
		f.torn = err == nil && last[0] != '\n'
	}
	return nil
}

// finish gives the present piece its name: the moment, or where the clock was set
// back that of the piece before and a second.
func (f *File) finish() (name string, err error) {
	pieces, err := f.pieces()
	if err != nil {
		return "", err
	}
	at := f.Now().UTC()
	if n := len(pieces); n > 0 && !at.After(pieces[n-1].at) {
		at = pieces[n-1].at.Add(time.Second)
	}
	for { // two pieces within one second: the later one takes the next free name
		name = f.Path + "-" + at.Format(stamp)
		if err = renameNew(f.Path, name); !errors.Is(err, os.ErrExist) {
			break
		}
		at = at.Add(time.Second)
	}
	if err != nil {
		return "", fmt.Errorf("finish a piece of the log: %w", err)
	}
	return name, nil
}

// Pieces are the names of the finished pieces of the log at path, oldest first;
// none where there are none, or no folder.
func Pieces(path string) (names []string, err error) {
	pieces, err := (&File{FileConfig: FileConfig{Path: path}}).pieces()
	for _, p := range pieces {
		names = append(names, p.path)
	}
	return names, err
}

type piece struct {
	path    string
	at      time.Time // by its name
	written time.Time // last, by the file system
	size    int64
}

// pieces lists the finished pieces, oldest first. Files whose names this File
// did not give are left alone.
func (f *File) pieces() ([]piece, error) {
	entries, err := os.ReadDir(filepath.Dir(f.Path))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var found []piece
	for _, e := range entries {
		text, ok := strings.CutPrefix(e.Name(), filepath.Base(f.Path)+"-")
		at, err := time.Parse(stamp, text)
		if !ok || err != nil {
			continue
		}
		if info, err := e.Info(); err == nil {
			found = append(found, piece{filepath.Join(filepath.Dir(f.Path), e.Name()), at, info.ModTime(), info.Size()})
		}
	}
	slices.SortFunc(found, func(a, b piece) int { return cmp.Compare(a.path, b.path) })
	f.kept = 0
	for _, p := range found {
		f.kept += p.size
	}
	return found, nil
}
