package dnsallow

import (
	"net"
	"net/netip"
	"os"
	"syscall"
)

// dialPackets opens a connected UDP socket with the three system calls that it
// takes; package net makes three more, to learn what nobody asks.
func dialPackets(to netip.AddrPort) (packetSocket, error) {
	if to.Addr().Zone() != "" {
		return net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	}
	family, peer := sockaddr(to)
	fd, err := syscall.Socket(family, syscall.SOCK_DGRAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, syscall.IPPROTO_UDP)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := syscall.Connect(fd, peer); err != nil {
		syscall.Close(fd)
		return nil, os.NewSyscallError("connect", err)
	}
	return os.NewFile(uintptr(fd), "udp"), nil
}

func sockaddr(a netip.AddrPort) (family int, peer syscall.Sockaddr) {
	if ip := a.Addr().Unmap(); ip.Is4() {
		return syscall.AF_INET, &syscall.SockaddrInet4{Port: int(a.Port()), Addr: ip.As4()}
	}
	return syscall.AF_INET6, &syscall.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}
