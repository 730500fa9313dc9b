package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a program that runs. Whoever launched it stops it.
type process struct {
	program
	cmd    *exec.Cmd
	dir    string
	server netip.AddrPort
}

// launch starts a program on one core and waits until it answers.
func launch(p plan, what program, s site, up *upstream) (*process, error) {
	dir, err := os.MkdirTemp("", "bench-dns-")
	if err != nil {
		return nil, err
	}
	r := &process{program: what, dir: dir, server: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(freePort()))}
	args, err := what.prepare(s, dir, int(r.server.Port()), up.port())
	if err != nil {
		return nil, err
	}
	output, err := os.Create(filepath.Join(dir, "output"))
	if err != nil {
		return nil, err
	}
	defer output.Close()
	r.cmd = exec.Command("taskset", append([]string{"-c", p.core, what.command}, args...)...)
	r.cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	r.cmd.Stdout, r.cmd.Stderr = output, output
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	if err := what.ready(r.server); err != nil {
		said, _ := os.ReadFile(output.Name())
		r.stop()
		return nil, fmt.Errorf("%w; it said: %s", err, said[max(0, len(said)-500):])
	}
	return r, nil
}

// stop ends the process, and returns when it has ended.
func (r *process) stop() {
	r.cmd.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(5*time.Second, func() { r.cmd.Process.Kill() })
	r.cmd.Wait()
	kill.Stop()
	os.RemoveAll(r.dir)
}

// cpu is the user and system time that all threads of the process have used: its
// process clock (clock_getcpuclockid(3)).
func (r *process) cpu() (time.Duration, error) {
	const scheduled = 2 // CPUCLOCK_SCHED
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^r.cmd.Process.Pid<<3|scheduled), &t); err != nil {
		return 0, fmt.Errorf("reading the processor clock of %s: %w", r.name, err)
	}
	return time.Duration(t.Nano()), nil
}

// mib is the memory of the process, shared pages divided among their users (PSS).
func (r *process) mib() (float64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", r.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 1 && fields[0] == "Pss:" {
			kib, err := strconv.ParseFloat(fields[1], 64)
			return kib / 1024, err
		}
	}
	return 0, errors.New("smaps_rollup has no line Pss")
}

func freePort() int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// startUp is for how long a program may take until it answers.
const startUp = 30 * time.Second

// answers waits until a server answers a question.
func answers(server netip.AddrPort) error {
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(server))
	if err != nil {
		return err
	}
	defer conn.Close()
	buf := make([]byte, 1500)
	for end := time.Now().Add(startUp); time.Now().Before(end); {
		conn.Write(question(nil, 1, refused))
		conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if n, err := conn.Read(buf); err == nil && n >= 12 {
			return nil
		}
		time.Sleep(20 * time.Millisecond) // the port was not open yet
	}
	return fmt.Errorf("%s does not answer", server)
}

// accepts waits until a server takes TCP connections.
func accepts(server netip.AddrPort) error {
	for end := time.Now().Add(startUp); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("tcp4", server.String()); err == nil {
			return conn.Close()
		}
	}
	return fmt.Errorf("%s takes no connection", server)
}
