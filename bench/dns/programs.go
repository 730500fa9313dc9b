package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// program is one that is measured.
type program struct {
	name    string
	command string
	// prepare writes its files into dir and gives its arguments.
	prepare func(p plan, dir string, port, upstream int) ([]string, error)
}

func (p program) installed() bool {
	_, err := exec.LookPath(p.command)
	return err == nil
}

func programs(p plan) []program {
	return []program{
		{"gatehouse", p.gatehouse, prepareGatehouse},
		{"unbound", "unbound", prepareUnbound},
		{"dnsmasq", "dnsmasq", prepareDnsmasq},
	}
}

func prepareGatehouse(p plan, dir string, port, upstream int) ([]string, error) {
	var hosts strings.Builder
	each := func(name string) { fmt.Fprintf(&hosts, "%q,\n", name) }
	for i := range p.names {
		each(fmt.Sprintf("n%d.further.example", i))
	}
	for c := range clients {
		for n := range uncachedNames {
			each(uncached(c, n))
		}
	}
	rules := "version = 1\n[[allow]]\nname = \"bench\"\naddresses = \"northeurope\"\nhosts = [\"" +
		plainName + "\", \"" + busName + "\",\n" + hosts.String() + "]\n"
	config := fmt.Sprintf(`[listen]
proxy = ["127.0.0.1:0"]
admin = "127.0.0.1:0"
dns = ["127.0.0.1:%d"]
[dns]
upstreams = ["127.0.0.1:%d"]
[log]
level = "error"
decisions = "decisions.log"
[state]
dir = "state"
`, port, upstream)
	return []string{"run", "--config", filepath.Join(dir, "gatehouse.toml")}, write(dir, map[string]string{
		"rules.toml": rules, "gatehouse.toml": config,
	})
}

func prepareUnbound(p plan, dir string, port, upstream int) ([]string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, `server:
  interface: 127.0.0.1@%d
  access-control: 127.0.0.0/8 allow
  num-threads: 1
  do-daemonize: no
  do-not-query-localhost: no
  username: ""
  chroot: ""
  pidfile: ""
  use-syslog: no
  logfile: "%s/unbound.log"
  module-config: "iterator"
  local-zone: "." refuse
`, port, dir)
	for _, zone := range []string{"permitted.example", "uncached.example", "trafficmanager.example", "cloudapp.example"} {
		fmt.Fprintf(&b, "  local-zone: %q transparent\n", zone)
	}
	for i := range p.names {
		fmt.Fprintf(&b, "  local-zone: \"n%d.further.example\" transparent\n", i)
	}
	fmt.Fprintf(&b, "forward-zone:\n  name: \".\"\n  forward-addr: 127.0.0.1@%d\n", upstream)
	return []string{"-d", "-c", filepath.Join(dir, "unbound.conf")}, write(dir, map[string]string{"unbound.conf": b.String()})
}

func prepareDnsmasq(p plan, dir string, port, upstream int) ([]string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "port=%d\nlisten-address=127.0.0.1\nbind-interfaces\nno-resolv\nno-hosts\nkeep-in-foreground\npid-file=\nuser=\ncache-size=10000\ndns-forward-max=1000\n", port)
	for _, zone := range []string{"permitted.example", "uncached.example", "trafficmanager.example", "cloudapp.example"} {
		fmt.Fprintf(&b, "server=/%s/127.0.0.1#%d\n", zone, upstream)
	}
	for i := range p.names {
		fmt.Fprintf(&b, "server=/n%d.further.example/127.0.0.1#%d\n", i, upstream)
	}
	return []string{"-C", filepath.Join(dir, "dnsmasq.conf")}, write(dir, map[string]string{"dnsmasq.conf": b.String()})
}

func write(dir string, files map[string]string) error {
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// measure starts a program afresh, warms it up, and asks.
func measure(p plan, what program, s scenario, up *upstream) (figure, error) {
	dir, err := os.MkdirTemp("", "bench-dns-")
	if err != nil {
		return figure{}, err
	}
	defer os.RemoveAll(dir)
	port := freePort()
	args, err := what.prepare(p, dir, port, up.port())
	if err != nil {
		return figure{}, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	cmd := exec.CommandContext(ctx, "taskset", append([]string{"-c", p.core, what.command}, args...)...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return figure{}, err
	}
	defer cmd.Wait()
	defer cancel()
	server := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port))
	if err := ready(server); err != nil {
		return figure{}, err
	}
	if s.name != "uncached" {
		if _, _, err := load(server, s, 200*time.Millisecond); err != nil {
			return figure{}, err
		}
	}
	before, began := cpu(cmd.Process.Pid), time.Now()
	n, lost, err := load(server, s, p.length)
	took, used := time.Since(began), cpu(cmd.Process.Pid)-before
	if err != nil || n == 0 {
		return figure{}, fmt.Errorf("%d answered, %d lost: %w", n, lost, err)
	}
	return figure{float64(used.Microseconds()) / float64(n), float64(n) / took.Seconds(), lost}, nil
}

func freePort() int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// ready waits until the server answers.
func ready(server netip.AddrPort) error {
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(server))
	if err != nil {
		return err
	}
	defer conn.Close()
	for range 200 {
		conn.Write(question(1, refused))
		conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if n, err := conn.Read(make([]byte, 1500)); err == nil && n >= 12 {
			return nil
		}
		time.Sleep(20 * time.Millisecond) // the port was not open yet
	}
	return fmt.Errorf("%s does not answer", server)
}

// cpu is the time a process has used, all its threads, user and system.
func cpu(pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	var user, system int64
	fmt.Sscan(fields[11], &user)
	fmt.Sscan(fields[12], &system)
	return time.Duration(user+system) * 10 * time.Millisecond // in ticks of a hundredth
}
