//go:build linux

package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
)

const oneRule = `version = 1
[[client]]
name = "here"
from = ["127.0.0.1", "127.0.0.77"]
[[allow]]
name    = "example"
hosts   = ["www.example.org"]
clients = ["here"]
`

// underSystemd starts the binary with a socket that somebody else holds, as systemd's
// socket activation does: descriptor 3, and the number of the process itself.
func (g *gate) underSystemd(t *testing.T, held *net.TCPListener) {
	t.Helper()
	f, err := held.File()
	require.NoError(t, err)
	defer f.Close()
	said, err := os.OpenFile(g.path("stderr"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	require.NoError(t, err)
	defer said.Close()
	g.cmd = exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@"`, g.bin, "run", "--config", g.path("gatehouse.toml"))
	g.cmd.ExtraFiles = []*os.File{f}
	g.cmd.Stderr, g.cmd.Stdout = said, said
	require.NoError(t, g.cmd.Start())
	g.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) { cmd.Wait(); close(done) }(g.cmd, g.done)
	t.Cleanup(g.kill)
}

// refusal asks for what no rule lists, on a connection that is there already, and
// gives the reason.
func refusal(t *testing.T, c net.Conn) string {
	t.Helper()
	require.NoError(t, c.SetDeadline(time.Now().Add(nettest.Patience)))
	_, err := fmt.Fprint(c, "GET http://other.example.org/ HTTP/1.1\r\nHost: other.example.org\r\nConnection: close\r\n\r\n")
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusForbidden, resp.StatusCode)
	return resp.Header.Get("Proxy-Status")
}

func TestEndToEndARestartWithSystemdsSocketsRefusesNobody(t *testing.T) {
	bin := buildBinary(t)
	g := newGate(t, bin, oneRule, nettest.NewDNS(t))
	ln, err := net.Listen("tcp", g.proxy)
	require.NoError(t, err)
	defer ln.Close()

	g.underSystemd(t, ln.(*net.TCPListener))
	before, err := net.Dial("tcp", g.proxy)
	require.NoError(t, err)
	defer before.Close()
	require.Contains(t, refusal(t, before), "host-not-listed")
	require.Equal(t, exitOK, g.terminate(t))

	between, err := net.Dial("tcp", g.proxy) // no gate runs
	require.NoError(t, err, "the socket is systemd's, and takes connections all the time")
	defer between.Close()
	g.underSystemd(t, ln.(*net.TCPListener))
	require.Contains(t, refusal(t, between), "host-not-listed")
	require.Equal(t, exitOK, g.terminate(t))
}

// The same with systemd's own tool: it listens, and starts the gate for whoever
// comes first.
func TestEndToEndTheFirstClientStartsTheGate(t *testing.T) {
	tool, err := exec.LookPath("systemd-socket-activate")
	if err != nil {
		t.Skip("systemd-socket-activate is not installed; .ci/run installs it")
	}
	bin := buildBinary(t)
	g := newGate(t, bin, oneRule, nettest.NewDNS(t))
	said, err := os.Create(g.path("stderr"))
	require.NoError(t, err)
	defer said.Close()
	g.cmd = exec.Command(tool, "--listen="+g.proxy, bin, "run", "--config", g.path("gatehouse.toml"))
	g.cmd.Stderr, g.cmd.Stdout = said, said
	require.NoError(t, g.cmd.Start())
	g.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) { cmd.Wait(); close(done) }(g.cmd, g.done)
	t.Cleanup(g.kill)
	var first net.Conn
	g.eventually(t, "the tool listens", func() bool {
		first, err = net.Dial("tcp", g.proxy)
		return err == nil
	})
	defer first.Close()
	require.Contains(t, refusal(t, first), "host-not-listed")
	require.Equal(t, exitOK, g.terminate(t))
}
