package dnsallow

import (
	"net"
	"net/netip"
	"sync"
)

// admission bounds what is under way, in all, by client network and by client, so
// that one machine gone wild leaves room for the others.
type admission struct {
	total, each int
	alone       int // of one client; 0: no more than its network

	mu       sync.Mutex
	under    int
	networks map[netip.Prefix]int
	clients  map[netip.Addr]int // only where alone bounds them
}

// admitted is what becomes of one more.
type admitted uint8

const (
	entered    admitted = iota
	turnedAway          // too many in all
	silenced            // too many from this network, or client
)

// enter lets one more in, if there is room. Whoever entered must leave.
func (a *admission) enter(client netip.Addr) admitted {
	network := networkOf(client)
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.networks[network] >= a.each, a.alone > 0 && a.clients[client] >= a.alone:
		return silenced
	case a.under >= a.total:
		return turnedAway
	}
	if a.networks == nil {
		a.networks, a.clients = map[netip.Prefix]int{}, map[netip.Addr]int{}
	}
	a.under++
	a.networks[network]++
	if a.alone > 0 {
		a.clients[client]++
	}
	return entered
}

// leave makes room again for who entered.
func (a *admission) leave(client netip.Addr) {
	network := networkOf(client)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.under--
	if a.networks[network]--; a.networks[network] == 0 {
		delete(a.networks, network)
	}
	if a.alone == 0 {
		return
	}
	if a.clients[client]--; a.clients[client] == 0 {
		delete(a.clients, client)
	}
}

// networkOf is the network a client belongs to: what one site usually has.
func networkOf(client netip.Addr) netip.Prefix {
	bits := 24
	if client.Is6() {
		bits = 56
	}
	network, _ := client.Prefix(bits) // fails only for no address at all
	return network
}

// addrOf is the client's address, IPv4 as IPv4 and without a zone.
func addrOf(from net.Addr) netip.Addr {
	var a netip.Addr
	switch from := from.(type) {
	case *net.UDPAddr:
		a = from.AddrPort().Addr()
	case *net.TCPAddr:
		a = from.AddrPort().Addr()
	}
	return a.Unmap().WithZone("")
}
