//go:build linux && (amd64 || arm64)

package dnsallow

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"unsafe"
)

// rawPort is a onePort that reads and answers with system calls that never wait,
// so that the scheduler need not be told of them: the waiting is done by the
// runtime's poller, as for any socket. One goroutine may call each.
type rawPort struct {
	onePort
	raw syscall.RawConn

	buf     []byte
	reply   func(packet []byte, from sender) []byte
	errno   syscall.Errno
	peer    [syscall.SizeofSockaddrInet6]byte // in network order, as the kernel has it
	peerLen uint32
}

// newOnePort makes the quickest port there is for a socket of one address.
func newOnePort(conn *net.UDPConn) packetPort {
	raw, err := conn.SyscallConn()
	if err != nil {
		return onePort{conn}
	}
	return &rawPort{onePort: onePort{conn}, raw: raw}
}

func (p *rawPort) each(buf []byte, answer func([]byte, sender) []byte) error {
	p.buf, p.reply = buf, answer
	turn := p.turn // made once: a closure for each turn would cost more than it saves
	for {
		p.errno = 0
		if err := p.raw.Read(turn); err != nil {
			return err
		}
		if p.errno != 0 {
			return p.errno
		}
	}
}

// turnPackets is how many packets are read before the poller is asked whether the
// socket has been closed or its deadline has passed.
const turnPackets = 256

// turn reads and answers what has come; not done: there is no more.
func (p *rawPort) turn(fd uintptr) (done bool) {
	for range turnPackets {
		n, errno := p.recvfrom(fd)
		if errno == syscall.EAGAIN { // EINTR is for calls that wait
			return false
		}
		if errno != 0 {
			p.errno = errno
			return true
		}
		if reply := p.reply(p.buf[:n], sender{addr: p.from()}); reply != nil {
			p.sendto(fd, reply)
		}
	}
	return true
}

func (p *rawPort) recvfrom(fd uintptr) (n int, errno syscall.Errno) {
	p.peerLen = uint32(len(p.peer))
	r, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p.buf))), uintptr(len(p.buf)),
		syscall.MSG_DONTWAIT, uintptr(unsafe.Pointer(&p.peer)), uintptr(unsafe.Pointer(&p.peerLen)))
	return int(r), errno
}

// sendto sends to where the last packet came from. Where there is no room, the
// reply is dropped: its client asks again.
func (p *rawPort) sendto(fd uintptr, packet []byte) {
	syscall.RawSyscall6(syscall.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(packet))), uintptr(len(packet)),
		syscall.MSG_DONTWAIT, uintptr(unsafe.Pointer(&p.peer)), uintptr(p.peerLen))
}

// from is the address in peer (struct sockaddr_in, sockaddr_in6).
func (p *rawPort) from() netip.AddrPort {
	port := binary.BigEndian.Uint16(p.peer[2:])
	if p.peerLen == syscall.SizeofSockaddrInet4 {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(p.peer[4:8])), port)
	}
	a := netip.AddrFrom16([16]byte(p.peer[8:24]))
	if scope := binary.NativeEndian.Uint32(p.peer[24:]); scope != 0 {
		a = a.WithZone(strconv.Itoa(int(scope)))
	}
	return netip.AddrPortFrom(a, port)
}
