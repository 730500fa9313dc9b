package appliance

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gatehouse/internal/wholefile"
)

// lastGood is the folder that keeps the rules file that was last in force. The
// file's name is its SHA-256, so that it is whole or not there: a crash between
// two writes cannot leave the one without the other.
//
// The empty lastGood keeps nothing and has nothing.
type lastGood string

const lastGoodExt = ".rules.toml"

// digest is the hex SHA-256 of a rules file.
func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// keep puts text in the place of what was kept before.
func (l lastGood) keep(text []byte) error {
	if l == "" {
		return nil
	}
	name := digest(text) + lastGoodExt
	if err := os.MkdirAll(string(l), 0o700); err != nil {
		return fmt.Errorf("keep the rules in force: %w", err)
	}
	if !l.has(name, text) {
		if err := wholefile.Replace(filepath.Join(string(l), name), text, nil); err != nil {
			return fmt.Errorf("keep the rules in force: %w", err)
		}
	}
	return l.forget(name)
}

// has reports whether text is kept already, and dates it anew. To write it again would
// have each start wait for the disk.
func (l lastGood) has(name string, text []byte) bool {
	path := filepath.Join(string(l), name)
	found, err := wholefile.Read(path, mostText)
	now := time.Now()
	return err == nil && bytes.Equal(found, text) && os.Chtimes(path, now, now) == nil
}

// forget removes all that is kept but the file name.
func (l lastGood) forget(name string) error {
	entries, err := os.ReadDir(string(l))
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if e.Name() != name {
			errs = append(errs, os.Remove(filepath.Join(string(l), e.Name())))
		}
	}
	return errors.Join(errs...)
}

// load gives the newest kept file that is what its name says, and when it was
// kept. The error is fs.ErrNotExist where there is none.
func (l lastGood) load() (text []byte, kept time.Time, err error) {
	if l == "" {
		return nil, time.Time{}, fmt.Errorf("no rules file is kept: %w", fs.ErrNotExist)
	}
	entries, err := os.ReadDir(string(l))
	if err != nil {
		return nil, time.Time{}, err
	}
	for _, e := range entries {
		sum, ok := strings.CutSuffix(e.Name(), lastGoodExt)
		info, err := e.Info()
		if !ok || err != nil || !info.ModTime().After(kept) {
			continue
		}
		found, err := wholefile.Read(filepath.Join(string(l), e.Name()), mostText)
		if err == nil && digest(found) == sum {
			text, kept = found, info.ModTime()
		}
	}
	if text == nil {
		return nil, time.Time{}, fmt.Errorf("no rules file is kept in %s: %w", string(l), fs.ErrNotExist)
	}
	return text, kept, nil
}
