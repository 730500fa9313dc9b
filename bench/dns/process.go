package main

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"gatehouse/bench/usage"
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

// cpu is the processor time that the process has used.
func (r *process) cpu() (time.Duration, error) { return usage.CPU(r.cmd.Process.Pid) }

// mib is the memory of the process.
func (r *process) mib() (float64, error) {
	kib, err := usage.KiB(r.cmd.Process.Pid)
	return kib / 1024, err
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
