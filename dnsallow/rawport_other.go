//go:build !(linux && (amd64 || arm64))

package dnsallow

import "net"

func newOnePort(conn *net.UDPConn) packetPort { return onePort{conn} }
