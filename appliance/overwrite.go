//go:build linux

package appliance

import (
	"errors"
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
			return wholefile.Rewrite(path, text)
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
