//go:build !race

package nowait

import (
	"syscall"
	"unsafe"
)

// Read reads from a non-blocking descriptor; EAGAIN where nothing is there. The bytes
// are kept alive, and in their place, by the conversion in the argument list (package
// unsafe, rule 4).
func Read(fd uintptr, p []byte) (int, syscall.Errno) { return call(syscall.SYS_READ, fd, p) }

// Write writes to a non-blocking descriptor what it takes; EAGAIN where it takes nothing.
func Write(fd uintptr, p []byte) (int, syscall.Errno) { return call(syscall.SYS_WRITE, fd, p) }

func call(number, fd uintptr, p []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall(number, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
		switch errno {
		case 0:
			return int(n), 0
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}
