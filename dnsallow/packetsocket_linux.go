package dnsallow

import (
	"net"
	"net/netip"
	"os"
	"syscall"
	"unsafe"
)

// dialPackets opens a connected UDP socket with the system calls that it takes;
// package net makes three more, to learn what nobody asks.
func dialPackets(to netip.AddrPort) (packetSocket, error) {
	if to.Addr().Zone() != "" {
		return net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	}
	fd, err := connected(to)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "udp"), nil
}

// connected opens a UDP socket that never waits: the kernel chooses its port at
// random, drops what comes from anybody else, and tells of refusals.
func connected(to netip.AddrPort) (fd int, err error) {
	family, peer := sockaddr(to)
	fd, err = syscall.Socket(family, syscall.SOCK_DGRAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, syscall.IPPROTO_UDP)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err := syscall.Connect(fd, peer); err != nil {
		syscall.Close(fd)
		return -1, os.NewSyscallError("connect", err)
	}
	return fd, nil
}

func sockaddr(a netip.AddrPort) (family int, peer syscall.Sockaddr) {
	if ip := a.Addr().Unmap(); ip.Is4() {
		return syscall.AF_INET, &syscall.SockaddrInet4{Port: int(a.Port()), Addr: ip.As4()}
	}
	return syscall.AF_INET6, &syscall.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// sendNow and readNow never wait, so the scheduler need not be told of them.
func sendNow(fd int, packet []byte) syscall.Errno {
	_, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(packet))), uintptr(len(packet)))
	return errno
}

func readNow(fd int, room []byte) (n int, errno syscall.Errno) {
	r, _, errno := syscall.RawSyscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(room))), uintptr(len(room)))
	return int(r), errno
}
