package firewall

import (
	"fmt"
	"net/netip"
	"strings"
)

// redirect turns the clients' connections to the gate's doors.
func (w *writer) redirect() {
	w.chain("prerouting", "type nat hook prerouting priority dstnat; policy accept;")
	w.fromClients("to_the_gate")
	w.end()
	w.chain("to_the_gate")
	for _, f := range families {
		w.rule("the school's own DNS servers may be asked", "%s daddr @servers%s meta l4proto { tcp, udp } th dport 53 return", f.ip, f.digit)
		if to, ok := f.door(w.DNS); ok {
			w.rule("whoever is asked for names, the filter answers", "meta nfproto %s udp dport 53 %s", f.nfproto, to)
			w.rule("the same over TCP", "meta nfproto %s tcp dport 53 %s", f.nfproto, to)
		}
	}
	w.rule("what is meant for this machine itself", "fib daddr type local return")
	for i := range w.Groups {
		for _, f := range families {
			w.rule("let through: see forward", "%s return", pinned(i, f))
		}
	}
	for _, f := range families {
		if to, ok := f.door(w.Gateway); ok && len(w.Ports) > 0 {
			w.rule("the gate relays these, or resets them", "meta nfproto %s tcp dport @relayed %s", f.nfproto, to)
		}
	}
	w.end()
}

// pinned matches what is open to a group.
func pinned(group int, f family) string {
	return fmt.Sprintf("%s saddr @group%d_%s %s daddr . meta l4proto . th dport @%s", f.ip, group+1, f.digit, f.ip, pinSet(group, f))
}

// door is how packets of the family are turned to the first door that they can
// reach: nothing but loopback reaches loopback.
func (f family) door(doors []netip.AddrPort) (statement string, ok bool) {
	for _, d := range doors {
		a := d.Addr().Unmap()
		switch {
		case d.Port() == 0 || a.IsLoopback():
		case a == netip.IPv6Unspecified(), a == netip.IPv4Unspecified() && f.four:
			return fmt.Sprintf("redirect to :%d", d.Port()), true
		case a.Is4() == f.four && !a.IsUnspecified():
			return fmt.Sprintf("dnat %s to %s", f.ip, netip.AddrPortFrom(a, d.Port())), true
		}
	}
	return "", false
}

// forward lets through what is pinned, and nothing else.
func (w *writer) forward() {
	w.chain("forward", "type filter hook forward priority filter; policy drop;")
	w.rule("connections that were let through", "ct state established,related accept")
	w.rule("no part of any connection", "ct state invalid drop")
	for i, g := range w.Groups {
		for _, f := range families {
			w.rule("rules "+strings.Join(g.Rules, ", "), "%s counter accept", pinned(i, f))
		}
	}
	w.fromClients("refused")
	w.rule("nobody asked for it", "counter drop")
	w.end()
}

// refused says no at once: a client that waits for silence to end waits long.
func (w *writer) refused() {
	w.chain("refused")
	for _, f := range families {
		w.rule("the school's own DNS servers may be asked", "%s daddr @servers%s meta l4proto { tcp, udp } th dport 53 accept", f.ip, f.digit)
	}
	w.rule("DNS over TLS goes round the filter", "tcp dport 853 counter reject with tcp reset")
	w.rule("DNS over QUIC too", "udp dport 853 counter reject")
	w.rule("QUIC shows no name; programs fall back to TCP", "udp dport { 80, 443 } counter reject")
	for _, f := range families {
		w.rule("DNS over HTTPS goes round the filter", "%s daddr @doh%s tcp dport 443 counter reject with tcp reset", f.ip, f.digit)
	}
	w.rule("into the log, now and then", "limit rate 10/minute burst 20 packets log prefix \"gatehouse forward: \" level info")
	w.rule("no rule lets it through", "counter")
	w.rule("said at once", "meta l4proto tcp reject with tcp reset")
	w.rule("said at once", "reject with icmpx type admin-prohibited")
	w.end()
}

// masquerade gives what private addresses send to the Internet the machine's own.
func (w *writer) masquerade() {
	if len(w.WAN) == 0 {
		return
	}
	w.chain("postrouting", "type nat hook postrouting priority srcnat; policy accept;")
	w.rule("the Internet knows no private addresses", "oifname %s ip saddr { 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 } masquerade", quoted(w.WAN))
	w.end()
}

// knownDoH are the addresses that browsers and devices know by heart, as their
// operators publish them. On ports that are relayed the gate judges the name
// anyway; this closes them where nothing is relayed.
var knownDoH = addrs(
	"8.8.8.8", "8.8.4.4", "2001:4860:4860::8888", "2001:4860:4860::8844", // dns.google
	"1.1.1.1", "1.0.0.1", "2606:4700:4700::1111", "2606:4700:4700::1001", // cloudflare-dns.com
	"9.9.9.9", "149.112.112.112", "2620:fe::fe", "2620:fe::9", // dns.quad9.net
	"208.67.222.222", "208.67.220.220", "2620:119:35::35", "2620:119:53::53", // doh.opendns.com
	"94.140.14.14", "94.140.15.15", "2a10:50c0::ad1:ff", "2a10:50c0::ad2:ff", // dns.adguard-dns.com
)

func addrs(list ...string) (all []netip.Addr) {
	for _, s := range list {
		all = append(all, netip.MustParseAddr(s))
	}
	return all
}
