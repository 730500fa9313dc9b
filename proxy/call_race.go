//go:build race

package proxy

import "syscall"

// readNow and writeNow, where races are looked for: package syscall tells the
// detector that who has read something knows what was done before it was written,
// and looks after the bytes.
func readNow(fd uintptr, p []byte) (int, syscall.Errno) { return callNow(syscall.Read, fd, p) }

func writeNow(fd uintptr, p []byte) (int, syscall.Errno) { return callNow(syscall.Write, fd, p) }

func callNow(call func(int, []byte) (int, error), fd uintptr, p []byte) (int, syscall.Errno) {
	for {
		n, err := call(int(fd), p)
		switch errno, _ := err.(syscall.Errno); {
		case err == nil:
			return n, 0
		case errno != syscall.EINTR:
			return 0, errno
		}
	}
}
