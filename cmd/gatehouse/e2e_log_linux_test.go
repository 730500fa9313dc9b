package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
)

// keeping has the gate write its log into a folder of its own.
func (g *gate) keeping(t *testing.T) (log string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(g.path("log"), 0o755))
	text, err := os.ReadFile(g.path("gatehouse.toml"))
	require.NoError(t, err)
	g.write(t, "gatehouse.toml", strings.Replace(string(text), `"decisions.json"`, `"log/decisions.log"`, 1))
	return g.path("log/decisions.log")
}

// refused asks n times, over one connection, for what no rule lists; each time the
// gate says no, by the rules. It gives the decision ids.
func (g *gate) refused(t *testing.T, n int) (ids []string) {
	t.Helper()
	p := nettest.Dial(t, g.proxy)
	defer p.Close()
	for range n {
		p.Say("GET http://other.example.org/%s HTTP/1.1\r\nHost: other.example.org\r\n\r\n", strings.Repeat("a", 300))
		resp, _ := p.Response(http.MethodGet)
		require.Equal(t, http.StatusForbidden, resp.StatusCode)
		ids = append(ids, resp.Header.Get("X-Gatehouse-Decision"))
	}
	return ids
}

func (g *gate) lost(t *testing.T) (n int) {
	t.Helper()
	_, text := g.get("/metrics")
	m := regexp.MustCompile(`(?m)^gatehouse_log_dropped_total (\S+)$`).FindStringSubmatch(text)
	require.NotNil(t, m)
	lines, err := strconv.ParseFloat(m[1], 64)
	require.NoError(t, err)
	return int(lines)
}

func (g *gate) saidTimes(words string) int {
	said, _ := os.ReadFile(g.path("stderr"))
	return strings.Count(string(said), words)
}

// written are the decision ids of whole lines of a log, and how many lines are not.
func written(t *testing.T, log string) (ids map[string]bool, torn int) {
	t.Helper()
	text, err := os.ReadFile(log)
	require.True(t, err == nil || os.IsNotExist(err), "%v", err) // not begun
	ids = map[string]bool{}
	whole := regexp.MustCompile(`^\{"ts":".*"id":"(GH-\w{8})".*"status":403\}$`)
	for line := range strings.Lines(string(text)) {
		if m := whole.FindStringSubmatch(strings.TrimSuffix(line, "\n")); m != nil {
			ids[m[1]] = true
		} else {
			torn++
		}
	}
	return ids, torn
}

func TestEndToEndTheGateGoesOnWhileTheDiskOfItsLogIsFull(t *testing.T) {
	g := newGate(t, buildBinary(t), oneRule, nettest.NewDNS(t))
	log := g.keeping(t)
	err := syscall.Mount("gatehouse-test", filepath.Dir(log), "tmpfs", 0, "size=128k")
	need(t, err == nil, fmt.Sprintf("a small disk cannot be mounted: %v", err))
	t.Cleanup(func() { syscall.Unmount(filepath.Dir(log), syscall.MNT_DETACH) })
	g.start(t)
	t.Cleanup(g.kill) // before the disk goes

	asked := g.refused(t, 600) // some 800 octets each
	g.eventually(t, "the disk is full, and lines are lost", func() bool { return g.lost(t) > 0 })
	require.Equal(t, 1, g.saidTimes("decision log: cannot write"), "told once")
	require.Equal(t, 1, g.saidTimes("no space left on device"))
	asked = append(asked, g.refused(t, 5)...)
	out, _ := tool(t, g.bin, "doctor", "--config", g.path("gatehouse.toml"))
	require.Regexp(t, `FAILED +decision log: it cannot be written: .*no space left on device`, out)
	out, code := tool(t, g.bin, "explain", "--config", g.path("gatehouse.toml"), asked[len(asked)-1])
	require.Equal(t, exitNo, code, out)
	require.Contains(t, out, "host-not-listed", "what is in memory is explained all the same")

	require.NoError(t, syscall.Mount("gatehouse-test", filepath.Dir(log), "tmpfs", syscall.MS_REMOUNT, "size=4m"), "the admin makes room")
	last := g.refused(t, 5)
	g.eventually(t, "it is written again", func() bool {
		ids, _ := written(t, log)
		return ids[last[4]]
	})
	require.Equal(t, 1, g.saidTimes("decision log: writing works again"))
	ids, torn := written(t, log)
	require.LessOrEqual(t, torn, 1, "the line in which the disk filled up is one by itself")
	asked = append(asked, last...)
	require.Equal(t, len(asked), len(ids)+g.lost(t), "each decision was either written or counted")
	for i, id := range asked[:100] {
		require.True(t, ids[id], "decision %d", i)
	}
	require.Zero(t, g.terminate(t))
}

func TestEndToEndALogSurvivesAGateThatIsKilled(t *testing.T) {
	g := newGate(t, buildBinary(t), oneRule, nettest.NewDNS(t))
	log := g.keeping(t)
	g.start(t)
	config := g.path("gatehouse.toml")
	var asked []string
	for round := range 3 {
		asked = append(asked, g.refused(t, 50)...)
		g.eventually(t, "all are written", func() bool {
			ids, _ := written(t, log)
			return ids[asked[len(asked)-1]]
		})
		g.refused(t, 20) // some of these are on their way to the disk
		g.kill()
		before, err := os.ReadFile(log)
		require.NoError(t, err)
		// A machine that loses its power tears the last line, too.
		before = append(before, fmt.Sprintf(`{"ts":"2026-03-04T05:06:07.089Z","id":"GH-TORN000%d","surf`, round)...)
		require.NoError(t, os.WriteFile(log, before, 0o640))
		g.start(t)
		after := g.refused(t, 1)
		g.eventually(t, "the log goes on", func() bool {
			ids, _ := written(t, log)
			return ids[after[0]]
		})
		now, err := os.ReadFile(log)
		require.NoError(t, err)
		require.True(t, bytes.HasPrefix(now, append(before, '\n')), "nothing that was written is touched, and the torn line stands alone")
	}
	ids, torn := written(t, log)
	require.Equal(t, 3, torn)
	for i, id := range asked {
		require.True(t, ids[id], "decision %d", i)
	}
	require.Zero(t, g.lost(t))
	out, code := tool(t, g.bin, "explain", "--config", config, asked[0])
	require.Equal(t, exitNo, code, out)
	require.Contains(t, out, "host-not-listed", "of a gate that was killed three times since")
	said, err := exec.Command(g.bin, "replay", "--config", config, log).CombinedOutput()
	require.NoError(t, err, string(said))
	require.Contains(t, string(said), "3 not read: no line of a decision log")
	out, code = tool(t, g.bin, "review", "--config", config, "--log", log)
	require.Zero(t, code, out)
	require.Zero(t, g.terminate(t))
}
