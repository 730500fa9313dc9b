package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
)

// The gateway tests have three machines, each a network namespace of its own: a
// client, the gate in its path, and an origin. They need root, ip and nft, and are
// asked for by GATEHOUSE_NETNS=required.

// land is the three machines, and gatehouse on the gate.
type land struct {
	*nettest.Path
	t        *testing.T
	dir      string
	upstream *nettest.DNS // what the gate asks for names
	running  *exec.Cmd
	wrap     []string     // what starts gatehouse, where it is not started as it is
	before   func() error // what its thread does before it is started; nil: nothing
	said     *said
	exited   chan error
}

// said is what gatehouse wrote to its log; it may be read while it writes.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

const (
	busAddr, busAddr6   = "203.0.113.7", "2001:db8:9::7"
	pinAddr, pinAddr6   = "203.0.113.8", "2001:db8:9::8"
	elseAddr, elseAddr6 = "203.0.113.9", "2001:db8:9::9"
)

// landZone is what the upstream server knows.
var landZone = []string{
	"bus.example.org. 60 IN A " + busAddr, "bus.example.org. 60 IN AAAA " + busAddr6,
	"pins.example.org. 60 IN A " + pinAddr, "pins.example.org. 60 IN AAAA " + pinAddr6,
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
[log]
decisions = "decisions.log"
[state]
dir = "state"
`

const landClients = `version = 1
[[client]]
name = "lan"
from = ["10.99.1.0/24", "fd99:1::/64"]
`

// newLand makes the machines. What is in the path of the client is written to
// gatehouse.toml, and rules.toml holds the rules; nothing runs yet.
func newLand(t *testing.T, rules string) *land {
	nettest.NeedNamespaces(t)
	l := &land{t: t, Path: nettest.NewPath(t), dir: t.TempDir(), said: &said{}}
	l.Gate.In(func() { l.upstream = nettest.NewDNS(t, landZone...) })
	l.write("gatehouse.toml", l.config())
	l.write("rules.toml", landClients+rules)
	return l
}

func (l *land) config() string { return fmt.Sprintf(landConfig, l.upstream.Addr) }

// landBinary is gatehouse as it ships, built once for all tests of a run.
var landBinary = sync.OnceValues(func() (string, error) {
	bin := filepath.Join(filepath.Dir(os.Args[0]), "gatehouse-as-it-ships") // go test removes the folder
	out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return bin, err
})

func (l *land) bin() string {
	l.t.Helper()
	bin, err := landBinary()
	require.NoError(l.t, err)
	return bin
}

func (l *land) write(name, text string) {
	l.t.Helper()
	require.NoError(l.t, os.WriteFile(filepath.Join(l.dir, name), []byte(text), 0o644))
}

// start runs gatehouse in the gate, until it answers.
func (l *land) start() {
	l.t.Helper()
	l.said = &said{}
	command := append(append([]string{}, l.wrap...), l.bin(), "run", "--config", filepath.Join(l.dir, "gatehouse.toml"))
	l.running = exec.Command(command[0], command[1:]...)
	l.running.Stderr = l.said
	var err error
	l.Gate.In(func() {
		if l.before != nil {
			err = l.before()
		}
		if err == nil {
			err = l.running.Start()
		}
	})
	require.NoError(l.t, err)
	l.exited = make(chan error, 1)
	go func(c *exec.Cmd, exited chan error) { exited <- c.Wait() }(l.running, l.exited)
	l.t.Cleanup(func() { l.end(syscall.SIGKILL) })
	require.True(l.t, comesTrue(func() bool { return l.run("healthcheck") == nil }), "the gate does not answer: %s", l.said)
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
	l.Gate.In(func() {
		err = exec.Command(l.bin(), append(args, "--config", filepath.Join(l.dir, "gatehouse.toml"))...).Run()
	})
	return err
}

// reload has gatehouse take rules.
func (l *land) reload(rules string) {
	l.t.Helper()
	l.write("rules.toml", landClients+rules)
	require.NoError(l.t, l.run("reload"), "%s", l.said)
}

// book is the decision log so far.
func (l *land) book() string {
	text, _ := os.ReadFile(filepath.Join(l.dir, "decisions.log"))
	return string(text)
}

func (l *land) nft(args string) string {
	l.t.Helper()
	return l.Gate.Sh("nft " + args)
}

// ask asks for a name, at a server that the gate is in the way to, over both IPs.
func (l *land) ask(name string) {
	l.t.Helper()
	for _, q := range []struct {
		qtype  uint16
		server string
	}{{dns.TypeA, "8.8.8.8:53"}, {dns.TypeAAAA, "[2001:4860:4860::8888]:53"}} {
		var reply *dns.Msg
		var err error
		l.Client.In(func() {
			reply, _, err = (&dns.Client{Timeout: nettest.Patience}).Exchange(new(dns.Msg).SetQuestion(name+".", q.qtype), q.server)
		})
		require.NoError(l.t, err, "%s\n%s", name, l.said)
		require.NotEmpty(l.t, reply.Answer, "%s: %v", name, reply)
	}
}

// exchange connects from the client, says something and hears something back; the
// error is how it ended.
func (l *land) exchange(addr, port, say, hear string) (net.Conn, error) {
	conn, err := l.Client.Dial("tcp", net.JoinHostPort(addr, port))
	if err != nil {
		return nil, err
	}
	l.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(nettest.Patience))
	return conn, sayAndHear(conn, say, hear)
}

func sayAndHear(conn net.Conn, say, hear string) error {
	if _, err := io.WriteString(conn, say); err != nil {
		return err
	}
	back := make([]byte, len(hear))
	if _, err := io.ReadFull(conn, back); err != nil {
		return err
	}
	if string(back) != hear {
		return fmt.Errorf("%q came back and not %q", back, hear)
	}
	return nil
}

// reaches: an origin that echoes is reached.
func (l *land) reaches(addr, port, say string) net.Conn {
	l.t.Helper()
	conn, err := l.exchange(addr, port, say, say)
	require.NoError(l.t, err, "%s port %s\n%s", addr, port, l.said)
	return conn
}

// isReset: said no at once, and not by silence.
func (l *land) isReset(addr, port, say string) {
	l.t.Helper()
	_, err := l.exchange(addr, port, say, "x")
	require.True(l.t, isNo(err), "%s port %s: %v", addr, port, err)
}

func isNo(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EPIPE)
}

// pings: a datagram comes back.
func (l *land) pings(addr, port string) {
	l.t.Helper()
	conn, err := l.Client.Dial("udp", net.JoinHostPort(addr, port))
	require.NoError(l.t, err)
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(nettest.Patience))
	require.NoError(l.t, sayAndHear(conn, "ping", "ping"), "udp to %s port %s", addr, port)
}
