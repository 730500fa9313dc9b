package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience is how long one thing in an emulated machine may take on a busy one. What
// is waited for is waited for no longer than until the machine ends.
const patience = 8 * time.Minute

// left is patience, or what remains of the time that "go test -timeout" gives but for
// a minute: a machine that is stuck ends the test, and its serial line is shown, before
// the time is over and everything is cut.
func left(t *testing.T) time.Duration {
	end, ok := t.Deadline()
	if !ok {
		return patience
	}
	return max(time.Millisecond, min(patience, time.Until(end)-time.Minute)) // an http.Client takes 0 for no limit
}

// guest is a virtual machine under emulation, in a network of its own from which
// nothing leads out: a few ports of a loopback address lead in.
type guest struct {
	t      *testing.T
	cmd    *exec.Cmd
	keys   io.WriteCloser // of the serial line
	qmp    string
	ended  chan struct{}
	start  time.Time
	mu     sync.Mutex
	screen strings.Builder
	read   int // how much of the screen has been looked at
	news   chan struct{}
}

// boot starts qemu with what all machines here have and with args, and ends it with
// the test.
func boot(t *testing.T, args ...string) *guest {
	t.Helper()
	g := &guest{t: t, qmp: filepath.Join(t.TempDir(), "qmp"), ended: make(chan struct{}), news: make(chan struct{}, 1), start: time.Now()}
	g.cmd = exec.Command("qemu-system-x86_64", append([]string{
		"-accel", "tcg,thread=multi", "-cpu", "max", "-m", "512", "-smp", "2", "-display", "none", "-no-reboot",
		"-chardev", "stdio,id=line,signal=off", "-serial", "chardev:line", "-qmp", "unix:" + g.qmp + ",server=on,wait=off",
	}, args...)...)
	var err error
	g.keys, err = g.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := g.cmd.StdoutPipe()
	require.NoError(t, err)
	g.cmd.Stderr = g.cmd.Stdout
	require.NoError(t, g.cmd.Start())
	go g.watch(out)
	t.Cleanup(func() {
		g.cmd.Process.Kill()
		<-g.ended
		if t.Failed() {
			t.Logf("the serial line of the machine:\n%s", g.text())
		}
	})
	return g
}

// watch keeps what the serial line shows until qemu ends.
func (g *guest) watch(out io.Reader) {
	defer close(g.ended)
	buf := make([]byte, 4096)
	for {
		n, err := out.Read(buf)
		g.mu.Lock()
		g.screen.WriteString(strings.ReplaceAll(string(buf[:n]), "\r", ""))
		g.mu.Unlock()
		select {
		case g.news <- struct{}{}:
		default:
		}
		if err != nil {
			g.cmd.Wait()
			return
		}
	}
}

func (g *guest) text() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.screen.String()
}

// sees waits until the serial line shows the words after what was seen before, and
// gives all between.
func (g *guest) sees(words string) string {
	g.t.Helper()
	deadline := time.After(left(g.t))
	for {
		all := g.text()
		if i := strings.Index(all[g.read:], words); i >= 0 {
			between := all[g.read : g.read+i]
			g.read += i + len(words)
			return between
		}
		select {
		case <-g.news:
		case <-g.ended:
			if !strings.Contains(g.text()[g.read:], words) {
				g.t.Fatalf("the machine ended before its screen showed %q", words)
			}
		case <-deadline:
			g.t.Fatalf("the machine's screen never showed %q", words)
		}
	}
}

func (g *guest) types(line string) {
	g.t.Helper()
	_, err := io.WriteString(g.keys, line+"\n")
	require.NoError(g.t, err)
}

// shell runs a command in the shell that the menu has opened, and gives what it says.
func (g *guest) shell(command string) string {
	g.t.Helper()
	g.types(command + ` ; echo "end:"$?":"`)
	g.sees(`echo "end:"$?":"` + "\n") // the typed line itself
	said := g.sees("end:")
	code := g.sees(":")
	require.Equal(g.t, "0", code, "%s: %s", command, said)
	return strings.TrimSpace(said)
}

// powerButton presses it, as hypervisors do to end a machine.
func (g *guest) powerButton() {
	g.t.Helper()
	c, err := net.Dial("unix", g.qmp)
	require.NoError(g.t, err)
	defer c.Close()
	require.NoError(g.t, c.SetDeadline(time.Now().Add(left(g.t))))
	answers := json.NewDecoder(bufio.NewReader(c))
	var greeting map[string]any
	require.NoError(g.t, answers.Decode(&greeting))
	for _, command := range []string{"qmp_capabilities", "system_powerdown"} {
		_, err := fmt.Fprintf(c, `{"execute": %q}`+"\n", command)
		require.NoError(g.t, err)
		for {
			var answer map[string]any
			require.NoError(g.t, answers.Decode(&answer))
			require.NotContains(g.t, answer, "error", command)
			if _, ok := answer["return"]; ok {
				break // anything else is an event
			}
		}
	}
}

// ends waits until the machine is off.
func (g *guest) ends() {
	g.t.Helper()
	select {
	case <-g.ended:
		require.Equal(g.t, 0, g.cmd.ProcessState.ExitCode())
	case <-time.After(left(g.t)):
		g.t.Fatal("the machine does not power off")
	}
}

// blankDisk makes a sparse file of zeros.
func blankDisk(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "data.raw")
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(256<<20))
	require.NoError(t, f.Close())
	return path
}

// seedDisk makes a NoCloud seed of files, as FAT: without mounting it.
func seedDisk(t *testing.T, dir string, files map[string]string) string {
	t.Helper()
	disk := filepath.Join(dir, "seed.raw")
	tool(t, "truncate", "-s", "4M", disk)
	tool(t, "mkfs.vfat", "-n", "CIDATA", disk)
	for name, text := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		tool(t, "mcopy", "-i", disk, path, "::"+name)
	}
	return disk
}

func tool(t *testing.T, name string, args ...string) {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	require.NoError(t, err, "%s: %s", name, out)
}
