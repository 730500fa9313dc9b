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
// runtime's poller, as for any socket. For one goroutine only, but for write.
type rawPort struct {
	onePort
	raw syscall.RawConn

	receive, send func(fd uintptr) (done bool) // made once: a closure for each packet would cost more than it saves

	packet  []byte // what is read into, or sent
	n       int
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
	p := &rawPort{onePort: onePort{conn}, raw: raw}
	p.receive, p.send = p.recvfrom, p.sendto
	return p
}

func (p *rawPort) recvfrom(fd uintptr) (done bool) {
	p.peerLen = uint32(len(p.peer))
	n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p.packet))), uintptr(len(p.packet)),
		syscall.MSG_DONTWAIT, uintptr(unsafe.Pointer(&p.peer)), uintptr(unsafe.Pointer(&p.peerLen)))
	p.n, p.errno = int(n), errno
	return errno != syscall.EAGAIN // EINTR is for calls that wait
}

func (p *rawPort) sendto(fd uintptr) (done bool) {
	_, _, p.errno = syscall.RawSyscall6(syscall.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p.packet))), uintptr(len(p.packet)),
		syscall.MSG_DONTWAIT, uintptr(unsafe.Pointer(&p.peer)), uintptr(p.peerLen))
	return true // where there is no room, a reply is dropped: its client asks again
}

func (p *rawPort) read(buf []byte) (int, sender, error) {
	p.packet = buf
	err := p.raw.Read(p.receive)
	switch {
	case err != nil:
		return 0, sender{}, err
	case p.errno != 0:
		return 0, sender{}, p.errno
	}
	return p.n, sender{addr: p.from()}, nil
}

// answer replies to the packet that was read last.
func (p *rawPort) answer(packet []byte, _ sender) {
	p.packet = packet
	p.raw.Write(p.send)
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
