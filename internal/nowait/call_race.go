//go:build race

package nowait

import "syscall"

// Read and Write, where races are looked for: package syscall tells the detector that
// who has read something knows what was done before it was written, and looks after
// the bytes.
func Read(fd uintptr, p []byte) (int, syscall.Errno) { return call(syscall.Read, fd, p) }

// Write: see Read.
func Write(fd uintptr, p []byte) (int, syscall.Errno) { return call(syscall.Write, fd, p) }

func call(do func(int, []byte) (int, error), fd uintptr, p []byte) (int, syscall.Errno) {
	for {
		n, err := do(int(fd), p)
		switch errno, _ := err.(syscall.Errno); {
		case err == nil:
			return n, 0
		case errno != syscall.EINTR:
			return 0, errno
		}
	}
}
