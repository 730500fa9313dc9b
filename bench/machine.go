package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"gatehouse/bench/figures"
)

// machine is where the figures come from.
type machine struct {
	processors, kernel, system string
	commit                     string
	versions                   []string
	command, remark            string
}

// survey looks at the machine and asks the programs for their versions.
func survey(ctx context.Context, s settings, targets []*target) machine {
	m := machine{
		processors: fmt.Sprintf("%d × %s", processorCount(), processorName()),
		system:     systemName(), commit: commit(ctx), remark: s.remark,
		command: "go run ./bench",
	}
	if len(os.Args) > 1 {
		m.command += " " + strings.Join(commandLine(os.Args[1:]), " ")
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.kernel = "Linux " + unix.ByteSliceToString(u.Release[:])
	}
	if s.gatehouse != "" {
		m.commit = "unknown; the binary is " + s.gatehouse
	}
	m.versions = append(m.versions, "bench, net/http and relay built with "+runtime.Version())
	for _, t := range targets {
		if len(t.version) > 0 {
			m.versions = append(m.versions, t.name+": "+version(ctx, t))
		}
	}
	return m
}

// commandLine quotes what has blanks.
func commandLine(args []string) []string {
	shown := slices.Clone(args)
	for i, a := range shown {
		if strings.ContainsAny(a, " '\"") {
			shown[i] = `"` + a + `"`
		}
	}
	return shown
}

// processorCount is that of the machine: the bench itself may use but one.
func processorCount() int {
	text, _ := os.ReadFile("/proc/stat")
	n := 0
	for line := range strings.Lines(string(text)) {
		if len(line) > 3 && strings.HasPrefix(line, "cpu") && line[3] != ' ' {
			n++
		}
	}
	return n
}

func processorName() string { return valueOf("/proc/cpuinfo", "model name", ":") }

func systemName() string {
	return strings.Trim(valueOf("/etc/os-release", "PRETTY_NAME", "="), `"`)
}

// valueOf finds the first line of a file that begins with key, and returns what
// stands behind the separator.
func valueOf(file, key, separator string) string {
	text, _ := os.ReadFile(file)
	for line := range strings.Lines(string(text)) {
		if name, value, found := strings.Cut(line, separator); found && strings.TrimSpace(name) == key {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// commit names the source that gatehouse was built from.
func commit(ctx context.Context) string {
	id, err := exec.CommandContext(ctx, "git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	changed, err := exec.CommandContext(ctx, "git", "status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs").Output()
	name := strings.TrimSpace(string(id))
	if err != nil || len(bytes.TrimSpace(changed)) > 0 {
		name += " with changes not committed"
	}
	return name
}

// version is the first line that a program says of itself.
func version(ctx context.Context, t *target) string {
	name := t.version[0]
	if t.binary != "" {
		name = t.binary
	}
	out, err := exec.CommandContext(ctx, name, t.version[1:]...).CombinedOutput()
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if line == "" && err != nil {
		return "unknown"
	}
	return line
}

func (m machine) write(b *strings.Builder, r report) {
	res := r.results
	fmt.Fprintf(b, "Made by `%s` on %s in %s.\n\n", m.command, res.began.UTC().Format("2006-01-02 15:04 UTC"), rounded(res.took))
	fmt.Fprintf(b, "* Machine: %s, %s, %s. Load and origin on CPU 0, the measured program on CPU 1; %d clients in a closed loop; 127.0.0.0/8 only.\n",
		m.processors, m.kernel, m.system, r.plan.Clients)
	fmt.Fprintf(b, "* gatehouse: commit %s.\n", m.commit)
	for _, v := range m.versions {
		fmt.Fprintf(b, "* %s.\n", strings.TrimSuffix(v, "."))
	}
	fmt.Fprintf(b, "* Other programs kept %s processors busy in the median measurement, %s in the worst%s.\n",
		figures.Short(figures.Median(res.others)), figures.Short(slices.Max(res.others)), seen(res.strange))
	if m.remark != "" {
		fmt.Fprintf(b, "* %s\n", m.remark)
	}
}

// seen lists the strangers that were found running most often.
func seen(strange map[string]int) string {
	names := slices.SortedFunc(maps.Keys(strange), func(a, b string) int {
		return cmp.Or(cmp.Compare(strange[b], strange[a]), strings.Compare(a, b))
	})
	if len(names) == 0 {
		return ""
	}
	return "; seen running: " + strings.Join(names[:min(5, len(names))], ", ")
}
