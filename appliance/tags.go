package appliance

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"sync"
	"sync/atomic"

	"gatehouse/internal/servicetags"
)

// tagShelf holds the Azure service tags in force: those of a file or folder, or
// the copy built in. It is a rules.TagSource.
type tagShelf struct {
	path    string // empty: built in
	fetched bool   // the gate fetches it; until then: built in
	current atomic.Pointer[servicetags.File]
	turn    sync.Mutex             // of those who put tags in force while the gate runs
	judged  atomic.Pointer[string] // digest of what was read last, whatever became of it
}

// newTags is the shelf of a configuration.
func (c *Config) newTags() *tagShelf {
	s := newTagShelf(c.Azure.Tags)
	s.fetched = c.Azure.Fetch == fetchWeekly
	return s
}

// newTagShelf begins with the copy built in.
func newTagShelf(path string) *tagShelf {
	s := &tagShelf{path: path}
	s.current.Store(servicetags.Builtin())
	return s
}

// read reads what the path holds, without putting it in force.
func (s *tagShelf) read() (*servicetags.File, error) {
	if s.path == "" {
		return servicetags.Builtin(), nil
	}
	// The look comes first: what changes after it will be looked at again.
	digest := lookAtPath(s.path).digest
	s.judged.Store(&digest)
	f, err := servicetags.LoadPath(s.path)
	if s.fetched && noTags(err) {
		return servicetags.Builtin(), nil
	}
	if noTags(err) {
		return nil, fmt.Errorf("azure.tags: %w; the tags in force stay; put a list there by gatehouse azure import FILE", err)
	}
	if err != nil {
		return nil, fmt.Errorf("azure.tags: %w; the tags in force stay", err)
	}
	return f, nil
}

// noTags reports whether the place of the list is empty: no folder, no file, or a
// folder without a list.
func noTags(err error) bool {
	return errors.Is(err, servicetags.ErrNone) || errors.Is(err, fs.ErrNotExist)
}

// Judged is the digest of what was read last, empty before.
func (s *tagShelf) Judged() string {
	if d := s.judged.Load(); d != nil {
		return *d
	}
	return ""
}

func (s *tagShelf) file() *servicetags.File { return s.current.Load() }

// swap puts a file in force and gives back the one before.
func (s *tagShelf) swap(f *servicetags.File) (previous *servicetags.File) { return s.current.Swap(f) }

// Prefixes implements rules.TagSource.
func (s *tagShelf) Prefixes(tag string) ([]netip.Prefix, bool) { return s.file().Prefixes(tag) }

// Names implements rules.TagSource.
func (s *tagShelf) Names() []string { return s.file().Names() }
