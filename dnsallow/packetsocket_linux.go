package dnsallow

import (
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"gatehouse/internal/nowait"
)

// dialPackets opens a connected UDP socket with the system calls that it takes;
// package net makes three more, to learn what nobody asks.
func dialPackets(to netip.AddrPort) (packetSocket, error) {
	if to.Addr().Zone() != "" {
		return net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	}
	fd, err := newPackets(familyOf(to))
	if err != nil {
		return nil, err
	}
	if errno := nowait.Connect(fd, to); errno != 0 {
		nowait.Close(fd)
		return nil, os.NewSyscallError("connect", errno)
	}
	return os.NewFile(fd, "udp"), nil
}

// newPackets opens a UDP socket that never waits. Where it is connected the kernel
// chooses its port at random, drops what comes from anybody else, and tells of
// refusals.
func newPackets(family int) (fd uintptr, err error) {
	n, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	return uintptr(n), nil
}

// familyOf is that of the socket that reaches an address, which is not a mapped one.
func familyOf(to netip.AddrPort) int {
	if to.Addr().Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}
