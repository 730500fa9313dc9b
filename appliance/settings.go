package appliance

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"gatehouse/dnsallow"
	"gatehouse/policy"
)

// The types below are the values of gatehouse.toml. Their errors are worded for
// whoever wrote the file.

// Address is where a listener stands: an IP address and a port. ":3128" is port
// 3128 on every address of the machine. Port 0 lets the system choose.
type Address struct{ netip.AddrPort }

// UnmarshalText implements encoding.TextUnmarshaler.
func (a *Address) UnmarshalText(text []byte) error {
	s := string(text)
	if strings.HasPrefix(s, ":") {
		s = "[::]" + s
	}
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		return fmt.Errorf("%q is no address to listen on: write an IP address and a port, like \"127.0.0.1:3128\"", string(text))
	}
	a.AddrPort = ap
	return nil
}

// Loopback reports whether only this machine itself can reach the address.
func (a Address) Loopback() bool { return a.Addr().Unmap().IsLoopback() }

// Network is an address or a network in CIDR notation.
type Network struct{ netip.Prefix }

// UnmarshalText implements encoding.TextUnmarshaler.
func (n *Network) UnmarshalText(text []byte) error {
	s := string(text)
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		n.Prefix = netip.PrefixFrom(addr, addr.BitLen())
		return nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return fmt.Errorf("%q is no address or network: write \"10.20.0.5\" or \"10.20.0.0/16\"", s)
	}
	if p != p.Masked() {
		return fmt.Errorf("%q has bits behind its mask: the network is written %q", s, p.Masked())
	}
	n.Prefix = p
	return nil
}

func prefixesOf(list []Network) []netip.Prefix {
	all := make([]netip.Prefix, len(list))
	for i, n := range list {
		all[i] = n.Prefix
	}
	return all
}

// Interface is the name of a network interface of this machine.
type Interface string

// UnmarshalText implements encoding.TextUnmarshaler. The kernel's names have 15
// bytes at most, without spaces and slashes.
func (i *Interface) UnmarshalText(text []byte) error {
	bad := func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"'/\\*{},;`, r) }
	if s := string(text); s == "" || len(s) > 15 || strings.ContainsFunc(s, bad) {
		return fmt.Errorf("%q is no name of a network interface: write one that \"ip link\" shows, like \"eth1\"", s)
	}
	*i = Interface(text)
	return nil
}

func interfaceNames(list []Interface) []string {
	names := make([]string, len(list))
	for k, i := range list {
		names[k] = string(i)
	}
	return names
}

// Duration is a length of time such as "8s" or "1h".
type Duration struct{ time.Duration }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil || v <= 0 {
		return fmt.Errorf("%q is no length of time: write a number and a unit, like \"8s\", \"30m\" or \"1h\"", string(text))
	}
	d.Duration = v
	return nil
}

// Zone is a time zone by its IANA name; the zero value is the system's.
type Zone struct{ *time.Location }

// UnmarshalText implements encoding.TextUnmarshaler.
func (z *Zone) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		z.Location = nil
		return nil
	}
	loc, err := time.LoadLocation(string(text))
	if err != nil {
		return fmt.Errorf("%q is no time zone: write an IANA name, like \"Europe/London\", or \"\" for the system's", string(text))
	}
	z.Location = loc
	return nil
}

// Zone is the location to reckon in, never nil.
func (z Zone) Zone() *time.Location {
	if z.Location == nil {
		return time.Local
	}
	return z.Location
}

// String is the zone's name, or that it is the system's.
func (z Zone) String() string {
	if z.Location == nil {
		return "the system's"
	}
	return z.Location.String()
}

// Level is how much the log says.
type Level struct{ slog.Level }

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *Level) UnmarshalText(text []byte) error {
	for _, known := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		if strings.EqualFold(string(text), known.String()) {
			l.Level = known
			return nil
		}
	}
	return fmt.Errorf("%q is none of the levels: \"debug\", \"info\", \"warn\", \"error\"", string(text))
}

// DNSServer is a DNS server that is asked.
type DNSServer struct{ dnsallow.Upstream }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *DNSServer) UnmarshalText(text []byte) (err error) {
	d.Upstream, err = dnsallow.ParseUpstream(string(text))
	return err
}

func upstreamsOf(list []DNSServer) []dnsallow.Upstream {
	all := make([]dnsallow.Upstream, len(list))
	for i, s := range list {
		all[i] = s.Upstream
	}
	return all
}

// HostName is a DNS name.
type HostName struct{ policy.Host }

// UnmarshalText implements encoding.TextUnmarshaler.
func (n *HostName) UnmarshalText(text []byte) error {
	h, err := policy.ParseHost(string(text))
	if err != nil {
		return err
	}
	if h.IsIP() {
		return fmt.Errorf("%q is an address; a name is expected, like \"www.example.org\"", string(text))
	}
	n.Host = h
	return nil
}

// IPAddress is one IP address.
type IPAddress struct{ netip.Addr }

// UnmarshalText implements encoding.TextUnmarshaler.
func (a *IPAddress) UnmarshalText(text []byte) error {
	addr, err := netip.ParseAddr(string(text))
	if err != nil || addr.Zone() != "" {
		return fmt.Errorf("%q is no IP address: write it like \"192.0.2.7\"", string(text))
	}
	a.Addr = addr.Unmap()
	return nil
}
