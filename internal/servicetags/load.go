package servicetags

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

//go:embed data/ServiceTags_Public_trimmed_cn375.json
var builtinText []byte

// Of the built-in copy: its name, its issue, and the day on which the mirror took it up.
const (
	builtinName   = "ServiceTags_Public_trimmed_cn375.json (built in)"
	builtinNumber = 375
)

var builtinDate = time.Date(2025, 11, 6, 0, 0, 0, 0, time.UTC)

// Builtin is the dated, trimmed copy inside the program: enough for the packs
// to work at the first start, no substitute for a current file. Its tags are read when
// one is first asked for: a gate whose rules name none starts without them.
var Builtin = sync.OnceValue(func() *File {
	return &File{Name: builtinName, ChangeNumber: builtinNumber, Date: builtinDate, later: sync.OnceValue(builtinTags)}
})

func builtinTags() map[string]tag {
	f, err := Parse(bytes.NewReader(builtinText), builtinName)
	if err != nil {
		panic(err) // embedded and held by a test
	}
	return f.tags
}

// ErrNone says that a folder holds no list.
var ErrNone = errors.New("no ServiceTags_Public_*.json")

// LoadPath reads a file, or the newest ServiceTags_*.json of a folder. Newest
// is the latest day in a name, or in its absence the latest change of a file;
// where a folder has no JSON file, the legacy PublicIPs_*.xml are considered. A
// file without a day in its name is dated by its last change: when it was put
// there.
func LoadPath(path string) (*File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("azure service tags: %w", err)
	}
	if info.IsDir() {
		if path, err = newest(path); err != nil {
			return nil, fmt.Errorf("azure service tags: %w", err)
		}
	}
	in, err := openFile(path)
	if err != nil {
		return nil, fmt.Errorf("azure service tags: %w", err)
	}
	defer in.Close()
	f, err := Parse(in, path)
	if err == nil && f.Date.IsZero() {
		if info, err := in.Stat(); err == nil {
			f.Date = info.ModTime()
		}
	}
	return f, err
}

// openFile opens a regular file. Anything else, such as a pipe that nobody
// writes to, would hold up its reader for ever.
func openFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // opening a pipe must not wait for its writer
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func newest(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	for _, kind := range []struct{ prefix, ext string }{
		{"servicetags_", ".json"}, {"publicips", ".xml"},
	} {
		var best string
		var when time.Time
		for _, e := range entries {
			name := strings.ToLower(e.Name())
			if e.IsDir() || !strings.HasPrefix(name, kind.prefix) || filepath.Ext(name) != kind.ext {
				continue
			}
			if t := issued(e); best == "" || t.After(when) {
				best, when = e.Name(), t
			}
		}
		if best != "" {
			return filepath.Join(dir, best), nil
		}
	}
	return "", fmt.Errorf("%w in %s", ErrNone, dir)
}

// issued is the day in a file's name, else its last change.
func issued(e os.DirEntry) time.Time {
	if day := dateInName(e.Name()); !day.IsZero() {
		return day
	}
	info, err := e.Info()
	if err != nil { // gone since the folder was read
		return time.Time{}
	}
	return info.ModTime()
}
