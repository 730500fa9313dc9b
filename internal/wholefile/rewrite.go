package wholefile

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// Rewrite writes text into the file at path as it lies there, so that its owner, its
// rights and a mount of it stay: first what makes it longer, for that is what a full
// disk has no room for. Where it fails what was in the file is put back; others may
// meanwhile read a part of each.
func Rewrite(path string, text []byte) error {
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
