//go:build linux

package appliance

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"gatehouse/internal/keypair"
	"gatehouse/internal/wholefile"
	"gatehouse/rules"
)

// shownPair is the certificate that a door shows, from files that whoever renews it
// writes anew. A nil *shownPair is a door without TLS.
type shownPair struct {
	files   rules.TLSFiles
	current atomic.Pointer[tls.Certificate]
	seen    [2]fileMark // when it was read
	young   bool        // so young were they then that a later change may not show
	trouble error       // of the last reading
}

// fileMark tells whether a file has changed. Whoever renews by links may put a file in
// the place of one that is as large and has the same date, but it is another one.
type fileMark struct {
	modified, changed time.Time
	size              int64
	device, number    uint64 // of the inode
}

// newShownPair reads a certificate for the first time.
func newShownPair(files rules.TLSFiles, now time.Time) (*shownPair, error) {
	s := &shownPair{files: files}
	return s, s.read(now)
}

// renew reads the files again where they have changed, or could not be used. The
// certificate in use stays until there is another one that can be.
func (s *shownPair) renew(now time.Time) error {
	if s == nil || s.trouble == nil && !s.young && s.marks() == s.seen {
		return nil
	}
	switch s.trouble = s.read(now); {
	case s.trouble == nil:
		return nil
	case s.current.Load() == nil:
		return fmt.Errorf("nobody is served: its certificate cannot be used: %w", s.trouble)
	}
	return fmt.Errorf("the certificate that is in its place now cannot be used, and the one before is still shown: %w", s.trouble)
}

// pairFault is why a certificate or its key cannot be used.
type pairFault struct{ error }

func (f pairFault) Unwrap() error { return f.error }

func (s *shownPair) read(now time.Time) error {
	s.seen, s.young = s.marks(), false // before: what changes while it is read is read again
	for _, m := range s.seen {
		s.young = s.young || time.Since(m.modified) < youngest || time.Since(m.changed) < youngest
	}
	chain, err := readPEM(s.files.Chain)
	key := chain
	if err == nil && s.files.Key != s.files.Chain {
		key, err = readPEM(s.files.Key)
	}
	if err != nil {
		return pairFault{err}
	}
	pair, err := keypair.Parse(chain, key, now)
	if err != nil {
		return pairFault{fmt.Errorf("%s: %w", s.files.Chain, err)}
	}
	s.current.Store(pair)
	return nil
}

// readPEM reads a certificate or key; a mebibyte holds any.
func readPEM(path string) ([]byte, error) {
	text, err := wholefile.Read(path, 1<<20)
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w; make it readable for the user that gatehouse runs as", err)
	}
	return text, err
}

func (s *shownPair) marks() (marks [2]fileMark) {
	for i, path := range []string{s.files.Chain, s.files.Key} {
		if info, err := os.Stat(path); err == nil {
			marks[i] = markOf(info)
		}
	}
	return marks
}

func markOf(info fs.FileInfo) fileMark {
	m := fileMark{modified: info.ModTime(), changed: changed(info), size: info.Size()}
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		m.device, m.number = uint64(s.Dev), s.Ino
	}
	return m
}

// config is how the door speaks TLS.
func (s *shownPair) config(now func() time.Time) *tls.Config { return tlsOf(s.current.Load, now) }

// ending says that the certificate has ended, or will soon; empty: neither.
func (s *shownPair) ending(now time.Time) string {
	if s == nil {
		return ""
	}
	return ending(s.current.Load().Leaf, now)
}
