package flow

import (
	"errors"
	"os"
)

// renameFree gives a file a name that no other has just now.
func renameFree(from, to string) error {
	if _, err := os.Lstat(to); err == nil {
		return os.ErrExist
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.Rename(from, to)
}
