// Package usage is what a running process has used, as Linux tells it.
package usage

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// CPU is the user and system time that all threads of a process have used, also
// those that ended: its process clock (clock_getcpuclockid(3)), which is what
// /proc/PID/stat shows rounded to hundredths of a second.
func CPU(pid int) (time.Duration, error) {
	const scheduled = 2 // CPUCLOCK_SCHED
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|scheduled), &t); err != nil {
		return 0, fmt.Errorf("reading the processor clock of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// KiB is the memory of a process, shared pages divided among their users (PSS).
func KiB(pid int) (float64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 1 && fields[0] == "Pss:" {
			return strconv.ParseFloat(fields[1], 64)
		}
	}
	return 0, errors.New("smaps_rollup has no line Pss")
}
