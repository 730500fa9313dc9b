package firewall

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"gatehouse/policy"
)

// CutFlows deletes from the kernel's table of connections those that pass through
// this machine and that stay does not know. The next packet of a deleted flow is
// judged by the ruleset like a first one.
func CutFlows(stay func(Flow) bool) (int, error) {
	local, err := localAddresses()
	if err != nil {
		return 0, err
	}
	cut := uint(0)
	var errs []error
	for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
		n, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, family, flowFilter{stay, local})
		cut += n
		if err != nil {
			errs = append(errs, fmt.Errorf("delete connections from the kernel's table: %w", err))
		}
	}
	return int(cut), errors.Join(errs...)
}

func localAddresses() (map[netip.Addr]bool, error) {
	list, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list the addresses of this machine: %w", err)
	}
	local := map[netip.Addr]bool{}
	for _, a := range list {
		if addr, ok := netip.AddrFromSlice(a.IP); ok {
			local[addr.Unmap()] = true
		}
	}
	return local, nil
}

// flowFilter picks the flows to delete.
type flowFilter struct {
	stay  func(Flow) bool
	local map[netip.Addr]bool
}

// MatchConntrackFlow implements netlink.CustomConntrackFilter.
func (f flowFilter) MatchConntrackFlow(c *netlink.ConntrackFlow) bool {
	from, ok1 := netip.AddrFromSlice(c.Forward.SrcIP)
	to, ok2 := netip.AddrFromSlice(c.Forward.DstIP)
	answers, ok3 := netip.AddrFromSlice(c.Reverse.SrcIP)
	protocol := map[uint8]policy.Protocol{unix.IPPROTO_TCP: policy.TCP, unix.IPPROTO_UDP: policy.UDP}[c.Forward.Protocol]
	if !ok1 || !ok2 || !ok3 || protocol == policy.ProtocolUnknown {
		return false
	}
	from, to, answers = from.Unmap(), to.Unmap(), answers.Unmap()
	if to != answers || f.local[from] || f.local[to] { // redirected, or of this machine itself
		return false
	}
	return !f.stay(Flow{Client: from, To: netip.AddrPortFrom(to, c.Forward.DstPort), Protocol: protocol})
}
