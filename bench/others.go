package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// others watches what strangers take of the processors while something is
// measured: a figure from a busy machine must say so.
type others struct {
	instance *instance
	began    time.Time
	busy0    time.Duration
	own0     time.Duration
}

func watchOthers(i *instance) *others {
	o := &others{instance: i, began: time.Now(), busy0: machineBusy()}
	o.own0 = o.own()
	return o
}

// own is the processor time of the bench, of the programs it has ended, and of
// the one that is measured.
func (o *others) own() (t time.Duration) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if syscall.Getrusage(who, &u) == nil {
			t += time.Duration(u.Utime.Nano() + u.Stime.Nano())
		}
	}
	if o.instance.program != nil {
		if cpu, err := o.instance.program.cpu(); err == nil {
			t += cpu
		}
	}
	return t
}

// busy is how many processors strangers kept busy since the beginning. Time that
// interrupts took belongs to nobody and is counted as ours.
func (o *others) busy() float64 {
	elapsed := time.Since(o.began)
	strangers := machineBusy() - o.busy0 - (o.own() - o.own0)
	return max(0, strangers.Seconds()/elapsed.Seconds())
}

// machineBusy is the time that all processors spent on processes, from the first
// line of /proc/stat: user, nice, system, and what the host gave to others
// (steal).
func machineBusy() time.Duration {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	fields := strings.Fields(line)
	var ticks int64
	for _, i := range []int{1, 2, 3, 8} {
		if i < len(fields) {
			n, _ := strconv.ParseInt(fields[i], 10, 64)
			ticks += n
		}
	}
	const perSecond = 100 // USER_HZ, fixed in the kernel's interface
	return time.Duration(ticks) * time.Second / perSecond
}

// count notes the programs that run at this moment and are neither the bench nor
// what it started.
func (o *others) count(seen map[string]int) {
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	own := strconv.Itoa(os.Getpid())
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
		if open < 0 || end < open {
			continue
		}
		fields := strings.Fields(string(text[end+1:]))
		pid := strings.TrimSpace(string(text[:open]))
		if len(fields) > 1 && fields[0] == "R" && pid != own && fields[1] != own {
			seen[string(text[open+1:end])]++
		}
	}
}
