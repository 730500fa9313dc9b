//go:build !linux

package dnsallow

import (
	"net"
	"net/netip"
)

// dialPackets opens a connected UDP socket.
func dialPackets(to netip.AddrPort) (packetSocket, error) {
	return net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
}
