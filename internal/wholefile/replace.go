package wholefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Replace puts text in the place of the file at path, which need not be there: whoever
// opens it finds what was there or all of text, also after a crash. ready, which may be
// nil, is handed the new file before it has its name; until then its owner alone may
// read it (0600). Where there is an error the file is what it was.
func Replace(path string, text []byte, ready func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // does nothing once it is renamed
	_, err = f.Write(text)
	if ready != nil {
		err = errors.Join(err, ready(f))
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// Mode is for Replace: the new file has this mode, whatever the umask.
func Mode(mode fs.FileMode) (ready func(*os.File) error) {
	return func(f *os.File) error { return f.Chmod(mode) }
}
