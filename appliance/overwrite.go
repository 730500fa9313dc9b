//go:build linux

package appliance

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"gatehouse/internal/wholefile"
)

// overwrite puts text in the place of a file as a whole, with the owner and the
// permissions that the file had. Where that cannot be (a file mounted by itself into a
// container, a folder of somebody else's) it is written into the file as it lies there.
// Where it fails, the file holds what it held: a full disk takes nobody's rules away.
func overwrite(path string, text []byte) error {
	if real, err := filepath.EvalSymlinks(path); err == nil { // a link stays one
		path = real
	}
	err := wholefile.Replace(path, text, func(f *os.File) error { return liken(f, path) })
	for _, hindrance := range []error{syscall.EACCES, syscall.EPERM, syscall.EROFS, syscall.EBUSY, syscall.EXDEV} {
		if errors.Is(err, hindrance) {
			return rewrite(path, text)
		}
	}
	return err
}

// liken gives f the owner and the permissions of the file at path.
func liken(f *os.File, path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return f.Chmod(0o644)
	}
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return f.Chmod(info.Mode().Perm())
	}
	return errors.Join(f.Chown(int(owner.Uid), int(owner.Gid)), f.Chmod(info.Mode().Perm()))
}

// rewrite writes text into a file as it lies there: first what makes it longer, for
// that is what a full disk has no room for.
func rewrite(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	before, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	if err = refill(f, text, len(before)); err == nil {
		return nil
	}
	if back := refill(f, before, len(before)); back != nil {
		return fmt.Errorf("%w; and what was in the file could not be put back: %w", err, back)
	}
	return err
}

func refill(f *os.File, text []byte, long int) (err error) {
	if len(text) > long {
		_, err = f.WriteAt(text[long:], int64(long))
	}
	if err == nil {
		_, err = f.WriteAt(text[:min(long, len(text))], 0)
	}
	return errors.Join(err, f.Truncate(int64(len(text))), f.Sync())
}

// likeFolder gives a new file to whom its folder belongs, where root writes it: it
// must stay the gate's to read.
func likeFolder(f *os.File) error {
	info, err := os.Stat(filepath.Dir(f.Name()))
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 {
		return nil
	}
	return f.Chown(int(owner.Uid), int(owner.Gid))
}
