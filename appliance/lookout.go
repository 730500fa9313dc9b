//go:build linux

package appliance

import (
	"io/fs"
	"os"
	"syscall"
	"time"
)

// lookout looks at one file or folder again and again, and reads it only where it
// may have changed: a list of a hundred thousand names is three megabytes. It is
// for one goroutine.
type lookout struct {
	path string
	read func(path string) sight
	now  func() time.Time

	info fs.FileInfo // of the file that was read last, as it was before; nil: none was
	at   time.Time   // and when
	seen sight
}

const (
	// youngest is how old the last change of a file must be for its times to tell
	// the next one: some file systems have only even seconds.
	youngest = 4 * time.Second
	// readAtLeast is how often a file is read whatever its times say: a network
	// folder may be told of them late, and its clock may be another.
	readAtLeast = time.Minute
)

func newLookout(path string, read func(string) sight) *lookout {
	return &lookout{path: path, read: read, now: time.Now}
}

// look is what there is to see now.
func (l *lookout) look() sight {
	now := l.now()
	info, err := os.Stat(l.path)
	if err == nil && l.unchanged(info, now) {
		return l.seen
	}
	l.info, l.at = nil, now
	if err == nil && info.Mode().IsRegular() {
		l.info = info
	}
	l.seen = l.read(l.path)
	return l.seen
}

// unchanged reports whether a file is the one that was read, and looks as if nobody
// had written to it since: neither its time nor the one that nobody can set.
func (l *lookout) unchanged(info fs.FileInfo, now time.Time) bool {
	since := now.Sub(l.at)
	return l.info != nil && 0 <= since && since < readAtLeast && os.SameFile(l.info, info) &&
		l.info.Size() == info.Size() && l.info.Mode() == info.Mode() &&
		l.info.ModTime().Equal(info.ModTime()) && changed(l.info).Equal(changed(info)) &&
		l.at.Sub(changed(info)) >= youngest && l.at.Sub(info.ModTime()) >= youngest
}

// changed is when anything about a file was changed last (st_ctim).
func changed(info fs.FileInfo) time.Time {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(s.Ctim.Unix())
	}
	return info.ModTime()
}
