package main

import (
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// The bench starts itself again for the programs it brings along, and once to
// settle on its processor.
const (
	roleVariable    = "GATEHOUSE_BENCH_ROLE"
	settledVariable = "GATEHOUSE_BENCH_SETTLED"
)

// roles are the programs measured for comparison that are part of the bench.
var roles = map[string]func(args []string) error{
	"relay": relayMain,
	"plain": plainMain,
}

// descriptors is the bound on open files for every program of a run, so that
// none is better off: the measured ones inherit it.
const descriptorLimit = 20000

// settle lowers the descriptor limit and moves the load and the origin to CPU 0.
// An affinity is a thread's own; only exec gives one to every thread of a Go
// program, so the bench replaces itself once.
func settle() error {
	if os.Getenv(settledVariable) != "" {
		return nil
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	n := min(limit.Max, descriptorLimit)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
		return err
	}
	if runtime.NumCPU() == 1 {
		return nil
	}
	runtime.LockOSThread()
	if err := pin(0); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return syscall.Exec(self, os.Args, append(os.Environ(), settledVariable+"=1"))
}

// pin binds the calling thread, and what it starts, to one processor.
func pin(cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	return unix.SchedSetaffinity(0, &set)
}
