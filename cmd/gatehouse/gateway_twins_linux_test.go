package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
)

// twin is one of two gates that share an address.
type twin struct {
	*nettest.Namespace
	t        *testing.T
	at       string // its own address
	dir, bin string
	running  *exec.Cmd
}

const (
	sharedAt, pupilsServer = "10.99.1.1", "10.99.1.50"
	// askPatience is with one question, while the address may be moving.
	askPatience = 3 * time.Second
)

const twinConfig = `
[listen]
proxy = "0.0.0.0:3128"
dns   = "0.0.0.0:53"
[[dns.host]]
name      = "www.school.example"
addresses = ["10.99.1.50"]
[firewall]
manage = true
lan    = "eth0"
peers  = "%s"
[state]
dir = "state"
`

const twinRules = landClients + `
[[allow]]
name      = "www"
clients   = "lan"
hosts     = "www.school.example"
ports     = [80, 9352]
addresses = "private"
`

// plugIn gives a namespace an interface at a switch.
func plugIn(of, at *nettest.Namespace, name, address string) {
	at.Sh(fmt.Sprintf("ip link add %s type veth peer name eth0 netns %s; ip link set %[1]s master lan up", name, of.Name))
	of.Sh("ip addr add " + address + "/24 dev eth0; ip link set eth0 up")
}

func newTwin(t *testing.T, bin, at, peer string) *twin {
	w := &twin{Namespace: nettest.NewNamespace(t), t: t, at: at, dir: t.TempDir(), bin: bin}
	for name, text := range map[string]string{"gatehouse.toml": fmt.Sprintf(twinConfig, peer), "rules.toml": twinRules} {
		require.NoError(t, os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o644))
	}
	return w
}

// start starts a program in the gate; it ends with the test.
func (w *twin) program(name string, args ...string) *exec.Cmd {
	w.t.Helper()
	said, err := os.OpenFile(filepath.Join(w.dir, "said"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	require.NoError(w.t, err)
	defer said.Close()
	c := exec.Command(name, args...)
	c.Stdout, c.Stderr = said, said
	w.In(func() { err = c.Start() })
	require.NoError(w.t, err)
	w.t.Cleanup(func() { end(c, syscall.SIGTERM) })
	return c
}

// end ends a program, if it has not ended.
func end(c *exec.Cmd, with syscall.Signal) {
	if c.ProcessState == nil {
		c.Process.Signal(with)
		c.Wait()
	}
}

func (w *twin) config() string { return filepath.Join(w.dir, "gatehouse.toml") }

func (w *twin) run() { w.running = w.program(w.bin, "run", "--config", w.config()) }

// share starts keepalived as docs/install.md has it.
func (w *twin) share(priority, peer string) {
	page, err := os.ReadFile("../../docs/install.md")
	require.NoError(w.t, err)
	example := regexp.MustCompile("(?s)```\n(global_defs .*?)```").FindSubmatch(page)
	require.NotNil(w.t, example, "docs/install.md shows no configuration of keepalived")
	text := strings.NewReplacer(
		"/usr/bin/gatehouse healthcheck", w.bin+" healthcheck --config "+w.config(),
		"10.20.0.3", peer, "10.20.0.1/24", sharedAt+"/24", "priority 100", "priority "+priority,
	).Replace(string(example[1]))
	file := filepath.Join(w.dir, "keepalived.conf")
	require.NoError(w.t, os.WriteFile(file, []byte(text), 0o644))
	w.program("keepalived", "--dont-fork", "--log-console", "--log-detail", "--vrrp",
		"-f", file, "-p", filepath.Join(w.dir, "pid"), "-r", filepath.Join(w.dir, "vrrp.pid"))
}

// holds reports whether the shared address is this gate's.
func (w *twin) holds() bool {
	return strings.Contains(w.Sh("ip -4 addr show dev eth0"), sharedAt+"/24")
}

// TestGatewayTwinsShareAnAddress: two gates, and keepalived moves the address to the
// one that answers /healthz, through the firewall that each of them manages.
func TestGatewayTwinsShareAnAddress(t *testing.T) {
	nettest.NeedNamespaces(t, "keepalived")
	bin, err := landBinary()
	require.NoError(t, err)
	lan, client := nettest.NewNamespace(t), nettest.NewNamespace(t)
	lan.Sh("ip link add lan type bridge; ip addr add " + pupilsServer + "/24 dev lan; ip link set lan up")
	lan.Echo("80", "9352")
	a, b := newTwin(t, bin, "10.99.1.11", "10.99.1.12"), newTwin(t, bin, "10.99.1.12", "10.99.1.11")
	plugIn(client, lan, "client", nettest.ClientAt)
	plugIn(a.Namespace, lan, "first", a.at)
	plugIn(b.Namespace, lan, "second", b.at)
	a.run()
	b.run()
	a.share("110", b.at)
	b.share("100", a.at)

	ask := func(say, hear string) (net.Conn, error) {
		var conn net.Conn
		var err error
		client.In(func() { conn, err = net.DialTimeout("tcp", sharedAt+":3128", askPatience) })
		if err != nil {
			return nil, err
		}
		conn.SetDeadline(time.Now().Add(askPatience))
		if err := sayAndHear(conn, say, hear); err != nil {
			conn.Close()
			return nil, err
		}
		return conn, nil
	}
	served := func(by, not *twin) {
		t.Helper()
		require.True(t, comesTrue(func() bool {
			if !by.holds() || not != nil && not.holds() {
				return false
			}
			conn, err := ask("GET http://www.school.example/ HTTP/1.1\r\nHost: www.school.example\r\n\r\n", "HTTP/1.1 200 OK\r\n")
			if err == nil {
				conn.Close()
			}
			return err == nil
		}), "%s\n%s", a.said(), b.said())
	}
	served(a, b)
	tunnel, err := ask("CONNECT www.school.example:9352 HTTP/1.1\r\nHost: www.school.example:9352\r\n\r\n", "HTTP/1.1 200 Connection established\r\n\r\n")
	require.NoError(t, err)
	defer tunnel.Close()

	end(a.running, syscall.SIGKILL)
	served(b, a)
	tunnel.SetDeadline(time.Now().Add(nettest.Patience))
	require.Error(t, sayAndHear(tunnel, "x", "x"), "what was open is cut: the gates share no state")
	a.run()
	served(a, b)
	lan.Sh("ip link set first down")
	served(b, nil)
}

// said is what its programs have said.
func (w *twin) said() string {
	text, _ := os.ReadFile(filepath.Join(w.dir, "said"))
	return string(text)
}
