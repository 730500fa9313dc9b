//go:build !race

package proxy

import (
	"syscall"
	"unsafe"
)

// readNow and writeNow make system calls on a non-blocking descriptor. They never
// wait, so that the scheduler need not be told of them, which would cost as much as
// parsing a head: that is what RawSyscall is for. The bytes are kept alive, and in
// their place, by the conversion in the argument list (package unsafe, rule 4).
func readNow(fd uintptr, p []byte) (int, syscall.Errno) { return callNow(syscall.SYS_READ, fd, p) }

func writeNow(fd uintptr, p []byte) (int, syscall.Errno) { return callNow(syscall.SYS_WRITE, fd, p) }

func callNow(call, fd uintptr, p []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
		switch errno {
		case 0:
			return int(n), 0
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}
