package vm

import (
	"fmt"
	"slices"
	"strings"
)

// networkFile is the systemd.network(5) of an adapter.
func networkFile(name string, a Adapter) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("[Match]")
	if a.MAC != "" {
		line("MACAddress=%s", a.MAC)
	} else {
		line("Name=%s", name)
	}
	line("\n[Network]")
	if a.DHCP {
		line("DHCP=yes")
	}
	for _, p := range a.Addresses {
		line("Address=%s", p)
	}
	for _, r := range a.Routers {
		line("Gateway=%s", r)
	}
	for _, d := range a.DNS {
		line("DNS=%s", d)
	}
	if len(a.Search) > 0 {
		line("Domains=%s", strings.Join(a.Search, " "))
	}
	// Nothing but the gate answers on this machine.
	line("LLMNR=no\nMulticastDNS=no")
	if a.DHCP {
		// The machine's own id is another one at each start, for its root is read-only:
		// by its hardware address it gets the same lease again.
		line("\n[DHCPv4]\nClientIdentifier=mac\nUseHostname=no")
	}
	return b.String()
}

// timeFile is the timesyncd.conf(5) drop-in with the time servers, if any.
func timeFile(servers []string) string {
	if len(servers) == 0 {
		return ""
	}
	return "[Time]\nNTP=" + strings.Join(servers, " ") + "\n"
}

// names are the adapters in order.
func (s Settings) names() []string {
	var list []string
	for name := range s.Adapters {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// routes reports whether the machine stands between networks.
func (s Settings) routes() bool { return len(s.Adapters) > 1 }
