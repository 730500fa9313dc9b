package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// reading gives what is read of logs in dir, one text after the other; during is
// called before each.
func reading(t *testing.T, dir string, during func(n int), logs ...string) (texts string, err error) {
	t.Helper()
	var said strings.Builder
	n := 0
	l := logReading{stdin: strings.NewReader("stdin "), read: func(r io.Reader) error {
		during(n)
		n++
		text, err := io.ReadAll(r)
		said.Write(bytes.ReplaceAll(text, []byte("\n"), []byte(" ")))
		return err
	}}
	for i, log := range logs {
		if log != "-" {
			logs[i] = filepath.Join(dir, log)
		}
	}
	err = l.all(logs)
	return said.String(), err
}

func TestALogIsReadWholeWhateverAGateDoesMeanwhile(t *testing.T) {
	const first, second = "d.log-20260301T000000Z", "d.log-20260302T000000Z"
	make := func(t *testing.T) (dir string) {
		dir = t.TempDir()
		for name, text := range map[string]string{first: "1\n", second: "2\n", "d.log": "3\n", "d.log-notes": "none\n"} {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
		}
		return dir
	}
	nothing := func(int) {}
	t.Run("at rest", func(t *testing.T) {
		got, err := reading(t, make(t), nothing, "d.log")
		require.NoError(t, err)
		require.Equal(t, "1 2 3 ", got)
	})
	t.Run("named twice", func(t *testing.T) {
		got, err := reading(t, make(t), nothing, second, "d.log", "./d.log", "-")
		require.NoError(t, err)
		require.Equal(t, "2 1 3 stdin ", got)
	})
	t.Run("finished while it is read", func(t *testing.T) {
		dir := make(t)
		got, err := reading(t, dir, func(n int) {
			if n == 0 {
				require.NoError(t, os.Rename(filepath.Join(dir, "d.log"), filepath.Join(dir, "d.log-20260303T000000Z")))
				require.NoError(t, os.WriteFile(filepath.Join(dir, "d.log"), []byte("4\n"), 0o600))
			}
		}, "d.log")
		require.NoError(t, err)
		require.Equal(t, "1 2 3 ", got)
	})
	t.Run("a piece is deleted meanwhile", func(t *testing.T) {
		dir := make(t)
		got, err := reading(t, dir, func(n int) {
			if n == 0 {
				require.NoError(t, os.Remove(filepath.Join(dir, second)))
			}
		}, "d.log")
		require.NoError(t, err)
		require.Equal(t, "1 3 ", got)
	})
	t.Run("the present piece is not begun", func(t *testing.T) {
		dir := make(t)
		require.NoError(t, os.Remove(filepath.Join(dir, "d.log")))
		got, err := reading(t, dir, nothing, "d.log")
		require.NoError(t, err)
		require.Equal(t, "1 2 ", got)
	})
	t.Run("there is none", func(t *testing.T) {
		_, err := reading(t, make(t), nothing, "other.log")
		require.ErrorIs(t, err, os.ErrNotExist)
	})
}
