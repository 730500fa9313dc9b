package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gatehouse/internal/nettest"
)

// The gateway test has three machines, each a network namespace of its own: a
// client, the gate in its path, and an origin. It needs root, ip and nft, and is
// asked for by GATEHOUSE_NETNS=required.

func needNamespaces(t *testing.T) {
	t.Helper()
	required := os.Getenv("GATEHOUSE_NETNS") == "required"
	if !required {
		t.Skip("it makes network namespaces and firewalls: as root, with GATEHOUSE_NETNS=required")
	}
	missing := ""
	for _, tool := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(tool); err != nil {
			missing = tool + " is not installed"
		}
	}
	if os.Geteuid() != 0 {
		missing = "network namespaces need root"
	}
	require.Empty(t, missing, "the gateway test is required")
}

// land is the three machines.
type land struct {
	t                    *testing.T
	client, gate, origin string // namespaces
	dir                  string
	bin                  string
	running              *exec.Cmd
	said                 bytes.Buffer
	exited               chan error
}

const (
	busAddr, busAddr6   = "203.0.113.7", "2001:db8:9::7"
	pinAddr, pinAddr6   = "203.0.113.8", "2001:db8:9::8"
	elseAddr, elseAddr6 = "203.0.113.9", "2001:db8:9::9"
	patience            = 20 * time.Second
)

func (l *land) sh(script string) string {
	l.t.Helper()
	out, err := exec.Command("sh", "-ec", script).CombinedOutput()
	require.NoError(l.t, err, "%s\n%s", script, out)
	return string(out)
}

func newLand(t *testing.T) *land {
	needNamespaces(t)
	name := fmt.Sprintf("gh%d", os.Getpid())
	l := &land{t: t, client: name + "c", gate: name + "g", origin: name + "o", dir: t.TempDir(), bin: buildBinary(t)}
	t.Cleanup(func() {
		for _, ns := range []string{l.client, l.gate, l.origin} {
			exec.Command("ip", "netns", "del", ns).Run()
		}
	})
	l.sh(strings.NewReplacer("CC", l.client, "GG", l.gate, "OO", l.origin).Replace(`
for ns in CC GG OO; do ip netns add $ns; ip -n $ns link set lo up; done
ip -n GG link add lan0 type veth peer name eth0 netns CC
ip -n GG link add wan0 type veth peer name eth0 netns OO
ip -n CC addr add 10.99.1.2/24 dev eth0
ip -n CC addr add fd99:1::2/64 dev eth0 nodad
ip -n GG addr add 10.99.1.1/24 dev lan0
ip -n GG addr add fd99:1::1/64 dev lan0 nodad
ip -n GG addr add 203.0.113.1/24 dev wan0
ip -n GG addr add 2001:db8:9::1/64 dev wan0 nodad
for n in 7 8 9; do ip -n OO addr add 203.0.113.$n/24 dev eth0; ip -n OO addr add 2001:db8:9::$n/64 dev eth0 nodad; done
ip -n CC link set eth0 up; ip -n OO link set eth0 up; ip -n GG link set lan0 up; ip -n GG link set wan0 up
ip -n CC route add default via 10.99.1.1; ip -n CC -6 route add default via fd99:1::1
ip -n OO route add 10.99.1.0/24 via 203.0.113.1; ip -n OO -6 route add fd99:1::/64 via 2001:db8:9::1
ip netns exec GG sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
`))
	return l
}

// in runs f with the network of a namespace. Sockets that f makes stay there.
func (l *land) in(ns string, f func()) {
	l.t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		fd, err := os.Open("/run/netns/" + ns)
		if err == nil {
			err = unix.Setns(int(fd.Fd()), unix.CLONE_NEWNET)
			fd.Close()
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	require.NoError(l.t, <-done)
}

// echoes starts servers in the origin that send back what they get.
func (l *land) echoes(ports []int, udp int) {
	var all sync.WaitGroup
	var closers []io.Closer
	l.in(l.origin, func() {
		for _, port := range ports {
			ln, err := net.Listen("tcp", fmt.Sprintf("[::]:%d", port))
			if err != nil {
				l.t.Errorf("listen: %v", err)
				return
			}
			closers = append(closers, ln)
			all.Go(func() {
				for {
					conn, err := ln.Accept()
					if err != nil {
						return
					}
					all.Go(func() { defer conn.Close(); io.Copy(conn, conn) })
				}
			})
		}
		for _, at := range []string{pinAddr, pinAddr6} {
			pc, err := net.ListenPacket("udp", net.JoinHostPort(at, fmt.Sprint(udp)))
			if err != nil {
				l.t.Errorf("listen: %v", err)
				return
			}
			closers = append(closers, pc)
			all.Go(func() {
				b := make([]byte, 1500)
				for {
					n, from, err := pc.ReadFrom(b)
					if err != nil {
						return
					}
					pc.WriteTo(b[:n], from)
				}
			})
		}
	})
	l.t.Cleanup(func() {
		for _, c := range closers {
			c.Close()
		}
	})
}

const landConfig = `
[listen]
proxy   = "10.99.1.1:3128"
dns     = ["10.99.1.1:53", "[fd99:1::1]:53"]
gateway = ":3129"
[dns]
upstreams = "%s"
[addresses]
treat_as_public = ["203.0.113.0/24", "2001:db8:9::/48"]
[firewall]
manage = true
lan    = "lan0"
wan    = "wan0"
[state]
dir = "state"
`

const landClients = `version = 1
[[client]]
name = "lan"
from = ["10.99.1.0/24", "fd99:1::/64"]
`

const landBus = `
[[allow]]
name    = "bus"
clients = "lan"
hosts   = "bus.example.org"
ports   = [443, 5671, 5672, "9350-9354"]
`

const landPins = `
[[allow]]
name     = "pins"
clients  = "lan"
hosts    = "pins.example.org"
ports    = [443, 5671, 5672, "9350-9354"]
protocol = "tcp"
via      = "forward"
[[allow]]
name     = "udp"
clients  = "lan"
hosts    = "pins.example.org"
ports    = 3478
protocol = "udp"
via      = "forward"
`

func (l *land) write(name, text string) {
	l.t.Helper()
	require.NoError(l.t, os.WriteFile(filepath.Join(l.dir, name), []byte(text), 0o644))
}

// start runs gatehouse in the gate, until it answers.
func (l *land) start() {
	l.t.Helper()
	l.in(l.gate, func() {
		l.running = exec.Command(l.bin, "run", "--config", filepath.Join(l.dir, "gatehouse.toml"))
		l.running.Stderr = &l.said
		if err := l.running.Start(); err != nil {
			l.t.Errorf("start: %v", err)
		}
	})
	l.exited = make(chan error, 1)
	go func() { l.exited <- l.running.Wait() }()
	l.t.Cleanup(func() { l.end(syscall.SIGKILL) })
	deadline := time.Now().Add(patience)
	for l.run("healthcheck") != nil {
		require.True(l.t, time.Now().Before(deadline), "the gate does not answer: %s", &l.said)
	}
}

// end ends gatehouse by a signal and waits for it.
func (l *land) end(with syscall.Signal) {
	if l.running == nil {
		return
	}
	l.running.Process.Signal(with)
	<-l.exited
	l.running = nil
}

// run runs a command of gatehouse in the gate.
func (l *land) run(args ...string) (err error) {
	l.in(l.gate, func() {
		c := exec.Command(l.bin, append(args, "--config", filepath.Join(l.dir, "gatehouse.toml"))...)
		err = c.Run()
	})
	return err
}

func (l *land) nft(args string) string { return l.sh("ip netns exec " + l.gate + " nft " + args) }

// ask asks for a name, at a server that the gate is in the way to.
func (l *land) ask(name string) {
	l.t.Helper()
	for _, q := range []struct {
		qtype  uint16
		server string
	}{{dns.TypeA, "8.8.8.8:53"}, {dns.TypeAAAA, "[2001:4860:4860::8888]:53"}} {
		l.in(l.client, func() {
			m := new(dns.Msg).SetQuestion(name+".", q.qtype)
			reply, _, err := (&dns.Client{Timeout: patience}).Exchange(m, q.server)
			if err != nil || len(reply.Answer) == 0 {
				l.t.Errorf("ask for %s: %v %v", name, err, reply)
			}
		})
	}
}

// dial connects from the client and says something; the error is how it ended.
func (l *land) dial(addr string, port int, say string) (conn net.Conn, err error) {
	l.in(l.client, func() {
		conn, err = net.DialTimeout("tcp", net.JoinHostPort(addr, fmt.Sprint(port)), patience)
	})
	if err != nil {
		return nil, err
	}
	l.t.Cleanup(func(c net.Conn) func() { return func() { c.Close() } }(conn))
	conn.SetDeadline(time.Now().Add(patience))
	if _, err = io.WriteString(conn, say); err != nil {
		return nil, err
	}
	back := make([]byte, len(say))
	if _, err = io.ReadFull(conn, back); err != nil {
		return nil, err
	}
	if string(back) != say {
		return nil, errors.New("something else came back")
	}
	return conn, nil
}

func (l *land) reaches(addr string, port int, say string) net.Conn {
	l.t.Helper()
	conn, err := l.dial(addr, port, say)
	require.NoError(l.t, err, "%s port %d\n%s", addr, port, &l.said)
	return conn
}

// isReset: said no at once, and not by silence.
func (l *land) isReset(addr string, port int, say string) {
	l.t.Helper()
	_, err := l.dial(addr, port, say)
	require.True(l.t, errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EPIPE), "%s port %d: %v", addr, port, err)
}

// clientHello is one as crypto/tls writes it.
func clientHello(t *testing.T, name string) string {
	near, far := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		tls.Client(near, &tls.Config{ServerName: name}).Handshake()
	}()
	head := make([]byte, 5)
	_, err := io.ReadFull(far, head)
	require.NoError(t, err)
	body := make([]byte, int(head[3])<<8|int(head[4]))
	_, err = io.ReadFull(far, body)
	require.NoError(t, err)
	far.Close()
	<-done
	return string(head) + string(body)
}

func TestGatewayInThePath(t *testing.T) {
	l := newLand(t)
	tcp, ports := []int{5672, 9350, 9351, 9352, 9353, 9354}, []int{443, 5671, 5672, 9350, 9351, 9352, 9353, 9354, 9355}
	l.echoes(ports, 3478)
	var upstream *nettest.DNS
	l.in(l.gate, func() {
		upstream = nettest.NewDNS(t, "bus.example.org. 60 IN A "+busAddr, "bus.example.org. 60 IN AAAA "+busAddr6,
			"pins.example.org. 60 IN A "+pinAddr, "pins.example.org. 60 IN AAAA "+pinAddr6)
	})
	l.write("gatehouse.toml", fmt.Sprintf(landConfig, upstream.Addr))
	l.write("rules.toml", landClients+landBus+landPins)
	l.nft("'add table inet foreign; add chain inet foreign c'")
	l.start()
	hello := clientHello(t, "bus.example.org")

	t.Run("a client that ignores the filter is reset", func(t *testing.T) {
		for _, addr := range []string{busAddr, busAddr6, pinAddr, pinAddr6, elseAddr, elseAddr6} {
			l.isReset(addr, 9352, "x")
		}
	})
	t.Run("every port of Service Bus through redirect", func(t *testing.T) {
		l.ask("bus.example.org")
		for _, addr := range []string{busAddr, busAddr6} {
			for _, port := range tcp {
				l.reaches(addr, port, "AMQP\x00\x01\x00\x00")
			}
			for _, port := range []int{443, 5671} {
				l.reaches(addr, port, hello)
			}
		}
	})
	t.Run("a permitted server name towards an address that was never judged for it is reset", func(t *testing.T) {
		for _, addr := range []string{elseAddr, elseAddr6} {
			l.isReset(addr, 443, hello)
		}
	})
	var flow net.Conn
	t.Run("every port of Service Bus through pins", func(t *testing.T) {
		l.ask("pins.example.org")
		for _, addr := range []string{pinAddr, pinAddr6} {
			for _, port := range append([]int{443, 5671}, tcp...) {
				flow = l.reaches(addr, port, "AMQP\x00\x01\x00\x00")
			}
			l.isReset(addr, 9355, "x")
			l.in(l.client, func() {
				conn, err := net.Dial("udp", net.JoinHostPort(addr, "3478"))
				if err != nil {
					t.Errorf("udp: %v", err)
					return
				}
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(patience))
				fmt.Fprint(conn, "ping")
				b := make([]byte, 4)
				if _, err := conn.Read(b); err != nil || string(b) != "ping" {
					t.Errorf("udp to %s: %v %q", addr, err, b)
				}
			})
		}
		for _, addr := range []string{elseAddr, elseAddr6} {
			l.isReset(addr, 9352, "x")
		}
	})
	t.Run("connections come and go without a trace", func(t *testing.T) {
		pid := l.running.Process.Pid
		fds := func() int {
			list, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
			return len(list)
		}
		before := fds()
		for range 10 {
			var all sync.WaitGroup
			for range 100 {
				all.Go(func() {
					conn, err := l.dial(busAddr, 9352, "ping")
					if err != nil {
						t.Errorf("%v", err)
						return
					}
					conn.Close()
				})
			}
			all.Wait()
		}
		if !comesTrue(func() bool { return fds() <= before+8 }) {
			t.Errorf("%d descriptors, before %d", fds(), before)
		}
	})
	t.Run("loading it twice is loading it once", func(t *testing.T) {
		text := filepath.Join(l.dir, "once.nft")
		l.sh(fmt.Sprintf("%s nft --config %s/gatehouse.toml > %s", l.bin, l.dir, text))
		l.nft("--check -f " + text)
	})
	t.Run("a ruleset that somebody else flushes is put back, with its pins", func(t *testing.T) {
		foreign := l.nft("list table inet foreign")
		l.nft("flush ruleset")
		require.True(t, comesTrue(func() bool { return strings.Contains(l.nft("list tables"), "inet gatehouse") }), "the table is put back")
		require.Contains(t, l.nft("list table inet gatehouse"), pinAddr)
		l.isReset(elseAddr, 9352, "x")
		l.reaches(pinAddr, 9352, "x")
		require.NoError(t, os.WriteFile(filepath.Join(l.dir, "foreign.nft"), []byte(foreign), 0o600))
		l.nft("-f " + filepath.Join(l.dir, "foreign.nft"))
	})
	t.Run("a reload that takes the permission away cuts the flow", func(t *testing.T) {
		l.write("rules.toml", landClients+landBus)
		require.NoError(t, l.run("reload"))
		flow.SetDeadline(time.Now().Add(patience))
		io.WriteString(flow, "x")
		_, err := flow.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET)
		l.isReset(pinAddr, 9352, "x")
		l.reaches(busAddr, 9352, "x")
	})
	t.Run("killed, it leaves the way closed", func(t *testing.T) {
		l.write("rules.toml", landClients+landBus+landPins)
		require.NoError(t, l.run("reload"))
		l.end(syscall.SIGKILL)
		require.Contains(t, l.nft("list tables"), "table inet gatehouse")
		for _, addr := range []string{busAddr, busAddr6, elseAddr, elseAddr6} {
			l.isReset(addr, 9352, "x")
			l.isReset(addr, 9355, "x")
		}
	})
	t.Run("removed, it is gone and nothing else is", func(t *testing.T) {
		before := l.nft("list table inet foreign")
		for range 2 { // also where it is not there
			l.sh(fmt.Sprintf("ip netns exec %s %s nft remove", l.gate, l.bin))
		}
		require.NotContains(t, l.nft("list tables"), "gatehouse")
		require.Equal(t, before, l.nft("list table inet foreign"))
	})
	t.Run("a wrong interface is told with the fix, and the proxy serves", func(t *testing.T) {
		l.write("gatehouse.toml", strings.Replace(fmt.Sprintf(landConfig, upstream.Addr), `"lan0"`, `"lan7"`, 1))
		l.said.Reset()
		l.start()
		l.in(l.client, func() {
			conn, err := (&net.Dialer{Timeout: patience}).DialContext(context.Background(), "tcp", netip.MustParseAddrPort("10.99.1.1:3128").String())
			if err != nil {
				t.Errorf("proxy: %v", err)
				return
			}
			conn.Close()
		})
		l.end(syscall.SIGTERM)
		require.Contains(t, l.said.String(), `firewall.lan: there is no interface \"lan7\" on this machine; it has lan0, wan0`)
	})
}
