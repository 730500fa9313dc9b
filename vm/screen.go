package vm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Screen is one terminal of the machine: the monitor, or the serial line. It shows
// the status whenever it changes, and a menu to who presses Enter. It is as good as
// the machine itself: whoever has it needs no password, as he could take the disk.
type Screen struct {
	*Machine
	In  io.Reader
	Out io.Writer
	// Ticks says when to look again.
	Ticks <-chan time.Time
	// Hush turns the echo off while a password is typed.
	Hush func() (restore func())
	// Shell runs a shell on this terminal until it ends.
	Shell func(ctx context.Context) error

	lines chan string
}

// errGone means that the terminal has ended.
var errGone = errors.New("the terminal is gone")

// Run serves the terminal until it is gone or ctx ends. Reading is on demand, one
// line for each question asked: what a shell is typed is the shell's.
func (s *Screen) Run(ctx context.Context) error {
	s.lines = make(chan string, 1) // each line was asked for: it never waits
	want := make(chan struct{})
	defer close(want)
	go s.read(want)
	shown := ""
	want <- struct{}{}
	for {
		st := s.status(ctx)
		if now, new := st.changed(shown); new {
			shown = now
			s.say("%s", st)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.Ticks:
		case _, ok := <-s.lines:
			if !ok {
				return errGone
			}
			if err := s.attend(ctx, want); err != nil {
				return err
			}
			shown = ""
			want <- struct{}{}
		}
	}
}

// read gives one line each time one is wanted, and ends with the terminal or with
// want.
func (s *Screen) read(want <-chan struct{}) {
	defer close(s.lines)
	in := bufio.NewReader(s.In)
	for range want {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		s.lines <- strings.TrimSpace(line)
	}
}

// attend has a conversation with who pressed Enter.
func (s *Screen) attend(ctx context.Context, want chan<- struct{}) error {
	ask := func(question string) (string, error) {
		s.say("%s", question)
		want <- struct{}{}
		line, ok := <-s.lines
		if !ok {
			return "", errGone
		}
		return line, nil
	}
	d := dialogue{Screen: s, ask: ask}
	err := d.hold(ctx)
	if err != nil && !errors.Is(err, errGone) {
		s.say("\nThat did not succeed: %v\n", err)
		return nil
	}
	return err
}

func (s *Screen) say(format string, args ...any) { fmt.Fprintf(s.Out, format, args...) }
