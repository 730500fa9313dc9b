package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
)

// The end-to-end test stands outside: it builds the binary, starts it with files
// as an admin would write them, and asks with curl and dig. It needs both, and
// ports 80 and 443 of 127.0.0.2 and onwards; without them it is skipped, unless
// GATEHOUSE_E2E=required.

// need skips the test where the machine lacks something it cannot do without.
func need(t *testing.T, ok bool, what string) {
	t.Helper()
	switch {
	case ok:
	case os.Getenv("GATEHOUSE_E2E") == "required":
		t.Fatalf("the end-to-end test is required and %s", what)
	default:
		t.Skipf("%s", what)
	}
}

func needTools(t *testing.T) {
	t.Helper()
	for _, tool := range []string{"curl", "dig"} {
		_, err := exec.LookPath(tool)
		need(t, err == nil, tool+" is not installed")
	}
	for _, port := range []string{"80", "443"} {
		ln, err := net.Listen("tcp", "127.0.0.2:"+port)
		need(t, err == nil, "port "+port+" of 127.0.0.2 cannot be opened")
		ln.Close()
	}
}

// buildBinary builds gatehouse as it ships.
func buildBinary(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "gatehouse")
	out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput()
	require.NoError(t, err, string(out))
	return bin
}

// expose makes a double reachable under a well-known port: it relays
// connections from address to it.
func expose(t *testing.T, address, double string) {
	t.Helper()
	ln, err := net.Listen("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer in.Close()
				out, err := net.Dial("tcp", double)
				if err != nil {
					return
				}
				defer out.Close()
				go func() {
					io.Copy(out, in)
					out.(*net.TCPConn).CloseWrite()
				}()
				io.Copy(in, out)
				in.(*net.TCPConn).CloseWrite()
			}()
		}
	}()
}

// gate is the running binary and the files it lives on.
type gate struct {
	bin, dir          string
	proxy, dns, admin string
	cmd               *exec.Cmd
	done              chan struct{}
}

// newGate writes the files; Start runs the binary.
func newGate(t *testing.T, bin, rules string, upstream *nettest.DNS) *gate {
	t.Helper()
	at := freeAddresses(t, "127.0.0.77", 3)
	g := &gate{bin: bin, dir: t.TempDir(), proxy: at[0], dns: at[1], admin: at[2]}
	g.write(t, "rules.toml", rules)
	g.write(t, "tags.json", testTags)
	g.write(t, "gatehouse.toml", fmt.Sprintf(`
[listen]
proxy = [%q]
dns   = [%q]
admin = %q
[dns]
upstreams = [%q]
[addresses]
treat_as_public = ["127.0.0.0/8"]
[azure]
tags = "tags.json"
[log]
decisions = "decisions.json"
[limits]
dial = "30s"
[state]
dir = "state"
`, g.proxy, g.dns, g.admin, upstream.Addr))
	return g
}

// testTags puts one loopback address into Azure North Europe, and another into
// West Europe: invented, so that a region can be shown on one machine.
const testTags = `{"changeNumber": 1, "cloud": "Public", "values": [
 {"name": "AzureCloud.northeurope", "id": "AzureCloud.northeurope",
  "properties": {"changeNumber": 1, "region": "northeurope", "regionId": 17, "platform": "Azure", "systemService": "",
   "addressPrefixes": ["127.0.0.3/32"], "networkFeatures": null}},
 {"name": "AzureCloud.westeurope", "id": "AzureCloud.westeurope",
  "properties": {"changeNumber": 1, "region": "westeurope", "regionId": 18, "platform": "Azure", "systemService": "",
   "addressPrefixes": ["127.0.0.4/32"], "networkFeatures": null}},
 {"name": "ServiceBus", "id": "ServiceBus",
  "properties": {"changeNumber": 1, "region": "", "regionId": 0, "platform": "Azure", "systemService": "AzureServiceBus",
   "addressPrefixes": ["127.0.0.5/32"], "networkFeatures": null}}]}`

// freeAddresses are different ports of one address. The address is used by
// nothing else on the machine, so that they stay free until the gate takes them:
// a port of 127.0.0.1 may be any other test's by then.
func freeAddresses(t *testing.T, host string, n int) (free []string) {
	t.Helper()
	for range n {
		ln, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		require.NoError(t, err)
		defer ln.Close()
		free = append(free, ln.Addr().String())
	}
	return free
}

func (g *gate) path(name string) string { return filepath.Join(g.dir, name) }

func (g *gate) write(t *testing.T, name, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(g.path(name), []byte(text), 0o644))
}

// start runs the binary and waits until it answers.
func (g *gate) start(t *testing.T) {
	t.Helper()
	errors, err := os.OpenFile(g.path("stderr"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	require.NoError(t, err)
	g.cmd = exec.Command(g.bin, "run", "--config", g.path("gatehouse.toml"))
	g.cmd.Env = append(os.Environ(), "HTTP_PROXY=http://127.0.0.1:9", "HTTPS_PROXY=http://127.0.0.1:9", "ALL_PROXY=http://127.0.0.1:9")
	g.cmd.Stderr, g.cmd.Stdout = errors, errors
	require.NoError(t, g.cmd.Start())
	errors.Close()
	g.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) { cmd.Wait(); close(done) }(g.cmd, g.done)
	t.Cleanup(g.kill)
	g.eventually(t, "the gate answers /healthz", func() bool {
		code, _ := g.get("/healthz")
		return code == http.StatusOK
	})
}

func (g *gate) kill() {
	g.cmd.Process.Kill()
	<-g.done
}

// terminate asks it to end, and returns its exit code.
func (g *gate) terminate(t *testing.T) int {
	t.Helper()
	require.NoError(t, g.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-g.done:
	case <-time.After(nettest.Patience):
		t.Fatal("the gate did not end after SIGTERM")
	}
	return g.cmd.ProcessState.ExitCode()
}

// eventually polls a claim about another process, for which there is no event to
// wait for.
func (g *gate) eventually(t *testing.T, claim string, holds func() bool) {
	t.Helper()
	if !comesTrue(holds) {
		said, _ := os.ReadFile(g.path("stderr"))
		t.Fatalf("not within %s: %s\n%s", nettest.Patience, claim, said)
	}
}

// comesTrue reports whether something holds before the tests' patience ends. It
// asks in the goroutine of the test, which may fail while it is asked.
func comesTrue(holds func() bool) bool {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(nettest.Patience); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// admins is how the tests reach the admin listener: with a connection for each
// question, as one kept alive may be that of a gate that has been killed.
var admins = http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: nettest.Patience}

// get asks the admin listener.
func (g *gate) get(path string) (int, string) {
	resp, err := admins.Get("http://" + g.admin + path)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

func (g *gate) reload(t *testing.T) (int, string) {
	t.Helper()
	resp, err := admins.Post("http://"+g.admin+"/-/reload", "", nil)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

// decisions is what /metrics counts: "surface verdict reason rule" to how often.
func (g *gate) decisions(t *testing.T) map[string]int {
	t.Helper()
	return g.counts(t, "gatehouse_decisions_total", "surface", "verdict", "reason", "rule")
}

// counts is one metric: the values of some of its labels, which tell its series
// apart, to how often.
func (g *gate) counts(t *testing.T, metric string, labels ...string) map[string]int {
	t.Helper()
	code, text := g.get("/metrics")
	require.Equal(t, http.StatusOK, code)
	counts := map[string]int{}
	for _, m := range regexp.MustCompile(`(?m)^`+metric+`\{(.*)\} (\S+)$`).FindAllStringSubmatch(text, -1) {
		n, err := strconv.ParseFloat(m[2], 64)
		require.NoError(t, err)
		if n > 0 {
			values := make([]string, len(labels))
			for i, name := range labels {
				values[i] = label(m[1], name)
			}
			counts[strings.Join(values, " ")] = int(n)
		}
	}
	return counts
}

func label(labels, name string) string {
	_, rest, _ := strings.Cut(labels, name+`="`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

// since is what was counted between two scrapes.
func since(before, after map[string]int) map[string]int {
	more := map[string]int{}
	for k, n := range after {
		if d := n - before[k]; d != 0 {
			more[k] = d
		}
	}
	return more
}

// tool runs curl, dig or the gate's own command line.
func tool(t *testing.T, name string, args ...string) (out string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*nettest.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	text, _ := cmd.CombinedOutput()
	return string(text), cmd.ProcessState.ExitCode()
}

func (g *gate) curl(t *testing.T, args ...string) (out string, code int) {
	t.Helper()
	return tool(t, "curl", append([]string{"-sS", "--max-time", "30", "-x", "http://" + g.proxy}, args...)...)
}

func (g *gate) dig(t *testing.T, args ...string) string {
	t.Helper()
	h, port, err := net.SplitHostPort(g.dns)
	require.NoError(t, err)
	out, code := tool(t, "dig", append([]string{"@" + h, "-p", port, "+tries=1", "+time=30"}, args...)...)
	require.Zero(t, code, out)
	return out
}
