package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"gatehouse/bench/usage"
)

// program is a running measured program. Whoever launched it stops it.
type program struct {
	cmd    *exec.Cmd
	output string        // file with what it said
	ended  chan struct{} // closed when it has been waited for
}

// launch starts a program bound to one processor (-1: any). Its output goes to a
// file in dir.
func launch(dir string, cpu int, env []string, argv ...string) (*program, error) {
	out, err := os.Create(filepath.Join(dir, "output"))
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p := &program{cmd: exec.Command(argv[0], argv[1:]...), output: out.Name(), ended: make(chan struct{})}
	p.cmd.Dir = dir
	p.cmd.Env = append(append([]string{}, cleanEnvironment()...), env...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	if err := startOn(p.cmd, cpu); err != nil {
		return nil, err
	}
	go func() {
		p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// startOn starts cmd on a processor: a child inherits the affinity of the thread
// that starts it.
func startOn(cmd *exec.Cmd, cpu int) error {
	if cpu < 0 {
		return cmd.Start()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return err
	}
	if err := pin(cpu); err != nil {
		return err
	}
	defer unix.SchedSetaffinity(0, &before)
	return cmd.Start()
}

// cleanEnvironment lacks what would change a program's ways: proxies, and the
// bench's own variables.
func cleanEnvironment() []string {
	var kept []string
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		upper := strings.ToUpper(name)
		if !strings.HasSuffix(upper, "_PROXY") && !strings.HasPrefix(upper, "GATEHOUSE_") && upper != "GOMAXPROCS" && upper != "GOGC" {
			kept = append(kept, v)
		}
	}
	return kept
}

// stop ends the program, and returns when it has ended.
func (p *program) stop() {
	if p == nil {
		return
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
		return
	case <-time.After(2 * time.Second):
	}
	p.cmd.Process.Kill()
	<-p.ended
}

func (p *program) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// said returns the end of what the program wrote, for an error message.
func (p *program) said() string {
	text, _ := os.ReadFile(p.output)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-3):], " | ")
}

// cpu is the processor time that the program has used.
func (p *program) cpu() (time.Duration, error) { return usage.CPU(p.cmd.Process.Pid) }

// proportionalKiB is the program's memory in KiB.
func (p *program) proportionalKiB() (float64, error) { return usage.KiB(p.cmd.Process.Pid) }

func (p *program) descriptors() (float64, error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	return float64(len(entries)), err
}
