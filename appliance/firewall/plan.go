package firewall

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"gatehouse/policy"
)

// Table is the name of the only table that gatehouse touches.
const Table = "inet gatehouse"

// Plan is what the ruleset is made from.
type Plan struct {
	SHA256 string // of the rules file, for a comment
	// LAN are the interfaces of the clients' networks. Where none is named,
	// clients are known by their networks.
	LAN []string
	// WAN are the interfaces to the Internet: nothing new comes in there, and
	// what private addresses send out there gets the machine's own.
	WAN     []string
	Clients []netip.Prefix // the permitted clients
	// Served are the doors that others may come to.
	Served []Door
	// Published are the doors that only some may come to, wherever they come from.
	Published []Way
	// Open are further TCP ports of this machine that stay reachable.
	Open []uint16
	// Peers are gates that share an address with this one by VRRP.
	Peers []netip.Prefix
	// DNS are the doors of the name filter, Gateway those of redirected TCP.
	DNS, Gateway []netip.AddrPort
	// GatewayFrom are load balancers that come to Gateway directly.
	GatewayFrom []netip.Prefix
	// Ports are the TCP ports whose connections are redirected to Gateway.
	Ports []policy.PortRange
	// Servers are the school's own DNS servers, which clients may go on asking.
	Servers []netip.Prefix
	// Groups are the clients of the rules that are forwarded, Pins what is
	// open to them.
	Groups []Group
	Pins   []Pin
}

// Door is where the machine serves.
type Door struct {
	Name string // what, in a word or two
	At   netip.AddrPort
	UDP  bool
}

// Way is a [[publish]]: where it listens, and who may come.
type Way struct {
	Name    string
	At      []netip.AddrPort
	Clients []netip.Prefix
}

// Group is the clients for which some rules with via = "forward" speak.
type Group struct {
	Clients []netip.Prefix
	Rules   []string
}

// Pin opens the way to one address for the clients of a group.
type Pin struct {
	Slot
	Ports policy.PortRange
	// For is how long; 0 is until the ruleset is replaced.
	For time.Duration
}

// Slot is where pins stand that must not overlap.
type Slot struct {
	Group    int // place in Plan.Groups
	Addr     netip.Addr
	Protocol policy.Protocol // TCP or UDP
}

// GroupsOf are the client groups of the rules that are forwarded. Rules with the
// same clients share one.
func GroupsOf(p *policy.Policy, permitted []netip.Prefix) (groups []Group, of map[*policy.Rule]int) {
	of = map[*policy.Rule]int{}
	byClients := map[string]int{}
	for _, r := range p.Rules() {
		if r.Deny || r.Via != policy.ViaForward {
			continue
		}
		clients := r.Clients.Prefixes
		if r.Clients.Any {
			clients = permitted
		}
		key := wordsOf(clients)
		i, known := byClients[key]
		if !known {
			i = len(groups)
			byClients[key] = i
			groups = append(groups, Group{Clients: clients})
		}
		groups[i].Rules = append(groups[i].Rules, r.Name)
		of[r] = i
	}
	return groups, of
}

func wordsOf(list []netip.Prefix) string {
	words := make([]string, len(list))
	for i, p := range list {
		words[i] = p.String()
	}
	slices.Sort(words)
	return strings.Join(slices.Compact(words), " ")
}

// Disjoint cuts pins that stand in the same slot into pieces that do not overlap,
// each open as long as the longest of those it came from: the kernel takes no
// others.
func Disjoint(pins []Pin) (out []Pin) {
	bySlot := map[Slot][]Pin{}
	var slots []Slot
	for _, p := range pins {
		if _, known := bySlot[p.Slot]; !known {
			slots = append(slots, p.Slot)
		}
		bySlot[p.Slot] = append(bySlot[p.Slot], p)
	}
	slices.SortFunc(slots, func(a, b Slot) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), a.Addr.Compare(b.Addr), cmp.Compare(a.Protocol, b.Protocol))
	})
	for _, s := range slots {
		out = append(out, pieces(s, bySlot[s])...)
	}
	return out
}

func pieces(s Slot, pins []Pin) (out []Pin) {
	var cuts []int // where a piece begins
	for _, p := range pins {
		cuts = append(cuts, int(p.Ports.First), int(p.Ports.Last)+1)
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	for i := 0; i+1 < len(cuts); i++ {
		piece := Pin{Slot: s, Ports: policy.PortRange{First: uint16(cuts[i]), Last: uint16(cuts[i+1] - 1)}, For: -1}
		for _, p := range pins {
			if p.Ports.First <= piece.Ports.First && piece.Ports.Last <= p.Ports.Last {
				piece.For = longer(piece.For, p.For)
			}
		}
		switch last := len(out) - 1; {
		case piece.For < 0: // a gap
		case last >= 0 && out[last].Ports.Last+1 == piece.Ports.First && out[last].For == piece.For:
			out[last].Ports.Last = piece.Ports.Last
		default:
			out = append(out, piece)
		}
	}
	return out
}

// longer is the longer of two times; 0 has no end, less than 0 is none at all.
func longer(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return 0
	}
	return max(a, b)
}
