package journal

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"gatehouse/internal/wholefile"
)

const (
	// mostFiles and mostBytes bound the files that are kept; those that were in
	// force longest ago go first, and the newest always stays.
	mostFiles = 200
	mostBytes = 64 << 20
	// mostFile is the largest rules file that is read back.
	mostFile = 16 << 20
	fileExt  = ".rules.toml"
)

// ErrNotKept says that the file of a digest is not kept, or no longer.
var ErrNotKept = errors.New("this file is not kept any more")

// ErrDamaged says that a kept file is not what its name says.
var ErrDamaged = errors.New("the kept file is damaged: its content is not that of its name")

// Digest is the hex SHA-256 by which a file is known.
func Digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Keep keeps a rules file, as of now.
func (j Journal) Keep(text []byte, now time.Time) error {
	if j == "" {
		return nil
	}
	if err := j.keep(text, now); err != nil {
		return fmt.Errorf("keep the rules file for the history: %w", err)
	}
	return j.prune()
}

func (j Journal) keep(text []byte, now time.Time) error {
	if err := os.MkdirAll(string(j), 0o700); err != nil {
		return err
	}
	path := j.path(Digest(text) + fileExt)
	if had, err := j.Text(Digest(text)); err == nil && len(had) == len(text) {
		return os.Chtimes(path, now, now)
	}
	if err := wholefile.Replace(path, text, wholefile.Adopt); err != nil {
		return err
	}
	return os.Chtimes(path, now, now)
}

// Text is the kept file of a digest.
func (j Journal) Text(digest string) ([]byte, error) {
	if j == "" || !IsDigest(digest) {
		return nil, ErrNotKept
	}
	text, err := wholefile.Read(j.path(digest+fileExt), mostFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, ErrNotKept
	case err != nil:
		return nil, err
	case Digest(text) != digest:
		return nil, ErrDamaged
	}
	return text, nil
}

// IsDigest reports whether s has the form of a digest, so that no name made from
// it leads anywhere else.
func IsDigest(s string) bool {
	raw, err := hex.DecodeString(s)
	return err == nil && len(raw) == sha256.Size && s == strings.ToLower(s)
}

// File is a kept file.
type File struct {
	SHA256 string
	Size   int64
	Time   time.Time // when it was in force last, as far as is known
}

// Files are the files that are kept, the newest first.
func (j Journal) Files() ([]File, error) {
	if j == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(string(j))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []File
	for _, e := range entries {
		sum, ok := strings.CutSuffix(e.Name(), fileExt)
		if info, err := e.Info(); ok && IsDigest(sum) && err == nil && info.Mode().IsRegular() {
			all = append(all, File{sum, info.Size(), info.ModTime()})
		}
	}
	slices.SortFunc(all, func(a, b File) int { return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(a.SHA256, b.SHA256)) })
	return all, nil
}

// prune removes what is beyond the bounds.
func (j Journal) prune() error {
	all, err := j.Files()
	if err != nil {
		return err
	}
	var errs []error
	var total int64
	for i, f := range all {
		if total += f.Size; i > 0 && (i >= mostFiles || total > mostBytes) {
			errs = append(errs, os.Remove(j.path(f.SHA256+fileExt)))
		}
	}
	return errors.Join(errs...)
}
