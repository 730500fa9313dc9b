package vm

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// networkConfig is both versions of network-config, as far as one adapter with its
// addresses, routers and name servers goes.
type networkConfig struct {
	Version   int                   `yaml:"version"`
	Ethernets map[string]ethernetV2 `yaml:"ethernets"`
	Config    []deviceV1            `yaml:"config"`
	Other     map[string]any        `yaml:",inline"`
}

type ethernetV2 struct {
	Match struct {
		MACAddress string `yaml:"macaddress"`
	} `yaml:"match"`
	DHCP4       bool     `yaml:"dhcp4"`
	DHCP6       bool     `yaml:"dhcp6"`
	Addresses   []string `yaml:"addresses"`
	Gateway4    string   `yaml:"gateway4"`
	Gateway6    string   `yaml:"gateway6"`
	Nameservers struct {
		Addresses []string `yaml:"addresses"`
		Search    []string `yaml:"search"`
	} `yaml:"nameservers"`
	Routes []struct {
		To  string `yaml:"to"`
		Via string `yaml:"via"`
	} `yaml:"routes"`
	Other map[string]any `yaml:",inline"`
}

type deviceV1 struct {
	Type       string       `yaml:"type"`
	Name       string       `yaml:"name"`
	MACAddress string       `yaml:"mac_address"`
	Subnets    []subnetV1   `yaml:"subnets"`
	Address    oneOrSeveral `yaml:"address"`
	Search     oneOrSeveral `yaml:"search"`
}

type subnetV1 struct {
	Type        string       `yaml:"type"`
	Address     string       `yaml:"address"`
	Netmask     string       `yaml:"netmask"`
	Gateway     string       `yaml:"gateway"`
	Nameservers oneOrSeveral `yaml:"dns_nameservers"`
	Search      oneOrSeveral `yaml:"dns_search"`
}

// oneOrSeveral is a list that may be written as a single word.
type oneOrSeveral []string

// UnmarshalYAML implements yaml.Unmarshaler.
func (o *oneOrSeveral) UnmarshalYAML(read func(any) error) error {
	var one string
	if read(&one) == nil {
		*o = strings.Fields(one)
		return nil
	}
	return read((*[]string)(o))
}

func (n *networkConfig) second(s *seed) (map[string]Adapter, error) {
	out := map[string]Adapter{}
	for key := range n.Other {
		s.Ignored = append(s.Ignored, "network "+key)
	}
	for name, e := range n.Ethernets {
		for key := range e.Other {
			s.Ignored = append(s.Ignored, "network "+name+" "+key)
		}
		a, err := e.adapter()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out[name] = a
	}
	return out, nil
}

func (e ethernetV2) adapter() (a Adapter, err error) {
	a = Adapter{DHCP: e.DHCP4 || e.DHCP6, MAC: strings.ToLower(e.Match.MACAddress), Search: e.Nameservers.Search}
	for _, text := range e.Addresses {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return a, fmt.Errorf("address %q: write it with its network, like 10.20.0.1/24", text)
		}
		a.Addresses = append(a.Addresses, p)
	}
	via := slices.DeleteFunc([]string{e.Gateway4, e.Gateway6}, func(g string) bool { return g == "" })
	for _, r := range e.Routes {
		if !slices.Contains([]string{"default", "0.0.0.0/0", "::/0"}, r.To) {
			return a, fmt.Errorf("a route to %s is not understood; the default route is", r.To)
		}
		via = append(via, r.Via)
	}
	if a.Routers, err = addresses(via); err != nil {
		return a, err
	}
	a.DNS, err = addresses(e.Nameservers.Addresses)
	return a, err
}

func (n *networkConfig) first(s *seed) (map[string]Adapter, error) {
	out := map[string]Adapter{}
	var dns, search []string
	for _, d := range n.Config {
		switch d.Type {
		case "physical":
			a, err := d.adapter()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", d.Name, err)
			}
			out[d.Name] = a
		case "nameserver":
			dns, search = append(dns, d.Address...), append(search, d.Search...)
		default:
			s.Ignored = append(s.Ignored, "network "+d.Type)
		}
	}
	servers, err := addresses(dns)
	for name, a := range out {
		a.DNS, a.Search = append(a.DNS, servers...), append(a.Search, search...)
		out[name] = a
	}
	return out, err
}

func (d deviceV1) adapter() (a Adapter, err error) {
	a.MAC = strings.ToLower(d.MACAddress)
	for _, sub := range d.Subnets {
		switch sub.Type {
		case "dhcp", "dhcp4", "dhcp6":
			a.DHCP = true
		case "static", "static6":
			p, err := sub.prefix()
			if err != nil {
				return a, err
			}
			a.Addresses = append(a.Addresses, p)
		default:
			return a, fmt.Errorf("a subnet of type %q is not understood", sub.Type)
		}
		more, err := addresses(slices.DeleteFunc([]string{sub.Gateway}, func(g string) bool { return g == "" }))
		if err != nil {
			return a, err
		}
		a.Routers = append(a.Routers, more...)
		if more, err = addresses(sub.Nameservers); err != nil {
			return a, err
		}
		a.DNS, a.Search = append(a.DNS, more...), append(a.Search, sub.Search...)
	}
	return a, nil
}

// prefix is the address with its network, however the two are written.
func (sub subnetV1) prefix() (netip.Prefix, error) {
	if sub.Netmask == "" {
		return netip.ParsePrefix(sub.Address)
	}
	addr, err := netip.ParseAddr(sub.Address)
	if err != nil {
		return netip.Prefix{}, err
	}
	mask := net.ParseIP(sub.Netmask).To4()
	ones, bits := net.IPMask(mask).Size()
	if bits == 0 {
		return netip.Prefix{}, fmt.Errorf("%q is no netmask", sub.Netmask)
	}
	return netip.PrefixFrom(addr, ones), nil
}
