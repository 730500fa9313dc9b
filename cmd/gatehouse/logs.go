package main

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"gatehouse/internal/flow"
)

// logReading reads decision logs whole, each with the finished pieces of it, which
// the gate begins each day: who names the log means all of it. Nothing is read
// twice. A gate may go on with the log meanwhile.
type logReading struct {
	stdin io.Reader // what "-" names
	read  func(io.Reader) error
	done  []os.FileInfo
}

func (l *logReading) all(logs []string) error {
	for _, log := range logs {
		if err := l.log(log); err != nil {
			return err
		}
	}
	return nil
}

// log reads the finished pieces and then the present one. That is opened first: if
// it is finished before the others have been found, it is among them, and is known
// by being the same file.
func (l *logReading) log(path string) error {
	if path == "-" {
		return l.read(l.stdin)
	}
	present, missing := os.Open(path)
	if missing == nil {
		defer present.Close()
	}
	pieces, err := flow.Pieces(path)
	switch {
	case err != nil:
		return err
	case missing != nil && (len(pieces) == 0 || !errors.Is(missing, fs.ErrNotExist)):
		return missing // else it is not begun yet
	}
	for _, piece := range pieces {
		if err := l.piece(piece, present); err != nil {
			return err
		}
	}
	if missing != nil {
		return nil
	}
	return l.file(present)
}

// piece reads a finished piece, unless it is the present one, or has been deleted
// meanwhile. Nobody has named it: a pipe or a device under such a name is passed over,
// while the log itself may be one.
func (l *logReading) piece(path string, present *os.File) error {
	f, _, err := flow.OpenPiece(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if present != nil && same(f, present) {
		return nil
	}
	return l.file(f)
}

func (l *logReading) file(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	for _, other := range l.done {
		if os.SameFile(info, other) {
			return nil
		}
	}
	l.done = append(l.done, info)
	return l.read(f)
}

func same(a, b *os.File) bool {
	x, err := a.Stat()
	y, err2 := b.Stat()
	return err == nil && err2 == nil && os.SameFile(x, y)
}
