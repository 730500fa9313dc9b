package firewall

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"gatehouse/policy"
)

// Ruleset is the whole ruleset as text for nft. Loading it replaces what an
// earlier one left, in one transaction.
func Ruleset(p Plan) string {
	w := &writer{Plan: p}
	w.head()
	w.line("table %s {", Table)
	w.sets()
	w.redirect()
	w.input()
	w.forward()
	w.refused()
	w.masquerade()
	w.line("}")
	return w.String()
}

// Removal is the text that takes the table away, and nothing else.
func Removal() string { return fmt.Sprintf("add table %s\ndelete table %s\n", Table, Table) }

// writer writes a plan.
type writer struct {
	Plan
	strings.Builder
}

func (w *writer) line(format string, args ...any) {
	fmt.Fprintf(w, format+"\n", args...)
}

// chain begins a chain; the end of it is end. hook is what hangs a base chain into the
// kernel.
func (w *writer) chain(name string, hook ...string) {
	w.line("\tchain %s {", name)
	for _, h := range hook {
		w.line("\t\t%s", h)
	}
}

// end ends a chain or a set.
func (w *writer) end() {
	w.line("\t}")
	w.line("")
}

// rule writes a rule and says in words what it is for.
func (w *writer) rule(what, format string, args ...any) {
	w.line("\t\t%s comment %q", fmt.Sprintf(format, args...), clip(what))
}

// clip keeps a comment within what the kernel takes (128 bytes).
func clip(s string) string { return s[:min(len(s), 120)] }

func (w *writer) head() {
	w.line("#!/usr/sbin/nft -f")
	w.line("# The firewall of gatehouse, written by: gatehouse nft")
	w.line("# Rules file: sha256 %s", w.SHA256)
	w.line("# It replaces its own table as a whole and touches no other. Change gatehouse.toml")
	w.line("# and rules.toml, not this file. To take it away: gatehouse nft remove")
	w.line("")
	w.line("add table %s", Table)
	w.line("delete table %s", Table)
	w.line("")
}

// family is one of the two IP versions, as nft calls things.
type family struct {
	digit, ip, kind, nfproto string
	four                     bool
}

var families = []family{{"4", "ip", "ipv4_addr", "ipv4", true}, {"6", "ip6", "ipv6_addr", "ipv6", false}}

func (w *writer) sets() {
	pins := Disjoint(w.Pins)
	for _, f := range families {
		w.set("clients"+f.digit, "the permitted clients", f.kind, "interval", f.prefixes(w.Clients))
		w.set("servers"+f.digit, "the school's own DNS servers", f.kind, "interval", f.prefixes(w.Servers))
		w.set("doh"+f.digit, "well-known servers of DNS over HTTPS", f.kind, "", f.addresses(knownDoH))
		for i, g := range w.Groups {
			what := "rules " + strings.Join(g.Rules, ", ")
			w.set(fmt.Sprintf("group%d_%s", i+1, f.digit), "clients of the "+what, f.kind, "interval", f.prefixes(g.Clients))
			w.pinSet(pinSet(i, f), "open to them by the "+what, f, elements(pins, i, f))
		}
	}
	for i, p := range w.Published {
		for _, f := range families {
			if clients := f.prefixes(p.Clients); len(clients) > 0 {
				w.set(publishedSet(i, f), "clients of the publish "+p.Name, f.kind, "interval", clients)
			}
		}
	}
	var ports []string
	for _, r := range w.Ports {
		ports = append(ports, portWord(r))
	}
	w.set("relayed", "ports whose connections the gate relays", "inet_service", "interval", ports)
}

func (w *writer) set(name, what, kind, flags string, elements []string) {
	w.line("\tset %s {", name)
	w.line("\t\tcomment %q", clip(what))
	w.line("\t\ttype %s", kind)
	if flags != "" {
		w.line("\t\tflags %s", flags)
		w.line("\t\tauto-merge")
	}
	w.elements(elements)
	w.end()
}

func (w *writer) pinSet(name, what string, f family, elements []string) {
	w.line("\tset %s {", name)
	w.line("\t\tcomment %q", clip(what))
	w.line("\t\ttype %s . inet_proto . inet_service", f.kind)
	w.line("\t\tsize %d", mostPins)
	w.line("\t\tflags interval, timeout")
	w.elements(elements)
	w.end()
}

func (w *writer) elements(list []string) {
	if len(list) > 0 {
		w.line("\t\telements = {\n\t\t\t%s\n\t\t}", strings.Join(list, ",\n\t\t\t"))
	}
}

// pinSet is the name of the set with the pins of a group.
func pinSet(group int, f family) string { return fmt.Sprintf("pins%d_%s", group+1, f.digit) }

// elements are the pins of one set.
func elements(pins []Pin, group int, f family) (list []string) {
	for _, p := range pins {
		if p.Group == group && p.Addr.Is4() == f.four {
			list = append(list, element(p)+timeout(p.For))
		}
	}
	return list
}

// element is a pin as an element without its time.
func element(p Pin) string {
	return fmt.Sprintf("%s . %s . %s", p.Addr, p.Protocol, portWord(p.Ports))
}

func timeout(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return fmt.Sprintf(" timeout %ds", int(max(d, time.Second)/time.Second))
}

func portWord(r policy.PortRange) string {
	if r.First == r.Last {
		return fmt.Sprint(r.First)
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// prefixes are the networks of the family. Loopback never comes in.
func (f family) prefixes(list []netip.Prefix) (words []string) {
	for _, p := range list {
		if p.Addr().Is4() == f.four && !p.Addr().IsLoopback() {
			words = append(words, word(p))
		}
	}
	return words
}

func word(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

func (f family) addresses(list []netip.Addr) (words []string) {
	for _, a := range list {
		if a = a.Unmap(); a.Is4() == f.four {
			words = append(words, a.String())
		}
	}
	return words
}

// fromClients writes a jump for what the clients send.
func (w *writer) fromClients(to string) {
	if len(w.LAN) > 0 {
		w.rule("what the clients' networks send", "iifname %s jump %s", quoted(w.LAN), to)
		return
	}
	for _, f := range families {
		w.rule("what permitted clients send", "%s saddr @clients%s jump %s", f.ip, f.digit, to)
	}
}

// quoted is a list of interfaces.
func quoted(names []string) string {
	words := make([]string, len(names))
	for i, n := range names {
		words[i] = fmt.Sprintf("%q", n)
	}
	return "{ " + strings.Join(words, ", ") + " }"
}

// input lets in what is served, and nothing else.
func (w *writer) input() {
	w.chain("input", "type filter hook input priority filter; policy drop;")
	w.rule("the machine itself", "iif \"lo\" accept")
	w.rule("answers", "ct state established,related accept")
	w.rule("no part of any connection", "ct state invalid drop")
	w.rule("ping, errors, neighbours", "meta l4proto { icmp, icmpv6 } accept")
	w.rule("DHCP for this machine", "udp dport { 68, 546 } accept")
	for _, f := range families {
		for _, from := range f.prefixes(w.Peers) {
			w.rule("firewall.peers: VRRP", "%s saddr %s meta l4proto 112 accept", f.ip, from)
		}
	}
	for i := range w.Published {
		w.publishedDoor(i)
	}
	if len(w.WAN) > 0 {
		w.rule("nothing new from the Internet", "iifname %s counter drop", quoted(w.WAN))
	}
	for _, d := range w.Served {
		w.serve(d)
	}
	for _, d := range w.Gateway {
		w.gatewayDoor(d)
	}
	for _, port := range w.Open {
		w.rule("firewall.open", "tcp dport %d accept", port)
	}
	w.rule("into the log, now and then", "limit rate 10/minute burst 20 packets log prefix \"gatehouse input: \" level info")
	w.rule("not served here", "counter drop")
	w.end()
}

func (w *writer) serve(d Door) {
	transport := "tcp"
	if d.UDP {
		transport = "udp"
	}
	if match, ok := reach(d.At); ok {
		w.rule(d.Name, "%s%s dport %d accept", match, transport, d.At.Port())
	}
}

// publishedSet is the name of the set with the clients of a publish.
func publishedSet(i int, f family) string { return fmt.Sprintf("published%d_%s", i+1, f.digit) }

// publishedDoor lets in a publish's own clients, and nobody else. They are named, so
// it does not matter by which interface they come.
func (w *writer) publishedDoor(i int) {
	p := w.Published[i]
	for _, at := range p.At {
		match, ok := reach(at)
		for _, f := range families {
			a := at.Addr().Unmap()
			mine := a.Is4() == f.four || a == netip.IPv6Unspecified()
			if ok && mine && len(f.prefixes(p.Clients)) > 0 {
				w.rule("publish "+p.Name, "%s saddr @%s %stcp dport %d accept", f.ip, publishedSet(i, f), match, at.Port())
			}
		}
	}
}

// gatewayDoor takes redirected connections and those of load balancers.
func (w *writer) gatewayDoor(d netip.AddrPort) {
	match, ok := reach(d)
	if !ok {
		return
	}
	w.rule("redirected connections", "%stcp dport %d ct status dnat accept", match, d.Port())
	for _, f := range families {
		for _, from := range f.prefixes(w.GatewayFrom) {
			w.rule("listen.gateway_from", "%s saddr %s %stcp dport %d accept", f.ip, from, match, d.Port())
		}
	}
}

// reach matches packets to a door's address. ok is false for doors that only
// this machine reaches.
func reach(d netip.AddrPort) (match string, ok bool) {
	switch a := d.Addr().Unmap(); {
	case a.IsLoopback() || d.Port() == 0:
		return "", false
	case a == netip.IPv4Unspecified():
		return "meta nfproto ipv4 ", true
	case a.IsUnspecified():
		return "", true
	case a.Is4():
		return fmt.Sprintf("ip daddr %s ", a), true
	default:
		return fmt.Sprintf("ip6 daddr %s ", a.WithZone("")), true
	}
}
