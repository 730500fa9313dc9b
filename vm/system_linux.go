package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// System is the machine as the image has it.
func System() *Machine {
	const run = "/run/gatehouse-vm"
	m := &Machine{
		Settings: "/data/machine.yaml", Gate: gateFolder, Run: run,
		Network: "/run/systemd/network", Time: "/run/systemd/timesyncd.conf.d",
		Forward: []string{"/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"},
		Own:     ownByGate, Command: command, Rename: rename, Now: time.Now, Log: os.Stderr,
		Addresses: systemAddresses, Synchronized: "/run/systemd/timesync/synchronized", Version: "/usr/share/gatehouse-vm/version",
	}
	m.Seed = func(ctx context.Context) (map[string][]byte, error) {
		return mountedSeed(m.seedDisk(ctx), filepath.Join(run, "seed"))
	}
	return m
}

// mountedSeed reads the seed on a disk; "" is none.
func mountedSeed(disk, at string) (_ map[string][]byte, err error) {
	if disk == "" {
		return nil, nil
	}
	if err := os.MkdirAll(at, 0o700); err != nil {
		return nil, err
	}
	for _, kind := range []string{"iso9660", "vfat"} {
		if err = unix.Mount(disk, at, kind, unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err == nil {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s cannot be mounted as ISO 9660 or FAT: %w", disk, err)
	}
	defer func() { err = errors.Join(err, unix.Unmount(at, 0)) }()
	return readSeed(at)
}

// ownByGate gives a file to root and the gate's group, or to the gate's user where it
// may write it.
func ownByGate(path string, write bool) error {
	u, err := user.Lookup("gatehouse")
	if err != nil {
		return err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return err
	}
	if !write {
		uid = 0
	}
	return os.Chown(path, uid, gid)
}

func rename(hostname string) error {
	return unix.Sethostname([]byte(hostname))
}

// command runs a program; its error ends with what it said.
func command(ctx context.Context, stdin io.Reader, name string, args ...string) (string, error) {
	c := exec.CommandContext(ctx, name, args...)
	c.Stdin = stdin
	var said bytes.Buffer
	c.Stderr = &said
	out, err := c.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(said.String()))
	}
	return string(out), err
}

// hush turns the echo of a terminal off until the function it gives is called; what
// is no terminal stays as it is.
func hush(f *os.File) (restore func()) {
	fd := int(f.Fd())
	was, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return func() {}
	}
	silent := *was
	silent.Lflag &^= unix.ECHO
	if unix.IoctlSetTermios(fd, unix.TCSETS, &silent) != nil {
		return func() {}
	}
	return func() { unix.IoctlSetTermios(fd, unix.TCSETS, was) }
}

// NewScreen is the terminal at standard input and output.
func NewScreen(m *Machine) (s *Screen, stop func()) {
	tick := time.NewTicker(5 * time.Second)
	return &Screen{
		Machine: m, In: os.Stdin, Out: os.Stdout, Ticks: tick.C,
		Hush: func() func() { return hush(os.Stdin) }, Shell: shell,
	}, tick.Stop
}

func shell(ctx context.Context) error {
	c := exec.CommandContext(ctx, "/bin/bash", "--login")
	// Standard error is the journal here. A shell says there what went wrong, and is one
	// to talk to (with a prompt) only where it is the terminal, too.
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stdout
	c.Env = append(os.Environ(), "HOME=/root", "PS1=root@gatehouse# ")
	return c.Run()
}
