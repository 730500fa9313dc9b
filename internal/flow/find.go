package flow

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"
)

// Find looks for a decision in a decision log in JSON, the newest piece of it
// first. Nil without an error says that it is in none. Of a passage that was told
// of while it was open and again at its end, the end is given.
func Find(ctx context.Context, path, id string) (*Record, error) {
	older, err := (&File{FileConfig: FileConfig{Path: path}}).pieces()
	if err != nil {
		return nil, err
	}
	files := []string{path}
	for _, p := range slices.Backward(older) {
		files = append(files, p.path)
	}
	for _, name := range files {
		found, err := findIn(ctx, name, id)
		if found != nil || err != nil && !errors.Is(err, os.ErrNotExist) {
			return found, err
		}
	}
	return nil, nil
}

// findIn reads one piece to its end.
func findIn(ctx context.Context, name, id string) (found *Record, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	mark := appendJSONString([]byte(`"id":`), id)
	lines := bufio.NewReaderSize(f, longestLine)
	for ctx.Err() == nil {
		line, err := lines.ReadSlice('\n')
		if bytes.Contains(line, mark) {
			if r, bad := ParseLine(line); bad == nil && r.ID == id && r.Repeats == 0 {
				found = r
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return found, nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return found, err
		}
	}
	return nil, context.Cause(ctx)
}
