// Package pac writes the proxy auto-configuration file: which way a client's
// programs take to a host. It is a pure function of the rules.
//
// What a rule relays goes to the proxy. What a rule has the firewall let through
// (via = "forward") goes directly, for the proxy need not see it. What a deny may
// touch goes to the proxy, so that it is refused in words, and counted. What no
// rule names goes to the proxy too, for the same reason, unless Options say that
// a school has another way out. Names without a dot, private addresses and the
// zones of the school's own DNS servers are on the LAN, where no proxy is needed.
//
// What the package is not: it serves nothing and enforces nothing. A program that
// does not follow the file meets the gate all the same, or the firewall.
package pac

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"text/template"
	"time"

	"gatehouse/policy"
)

// MediaType is what the file is served as. Windows and browsers take no other.
const MediaType = "application/x-ns-proxy-autoconfig"

// Options is what the file depends on besides the rules.
type Options struct {
	// Proxy is where the client finds the proxy.
	Proxy netip.AddrPort
	// Client is for whom the file is: only rules that name it are told. The
	// zero value stands for every client.
	Client netip.Addr
	// Direct says that what no rule names does not go to the proxy.
	Direct bool
	// Zones are names, and all below them, that are on the LAN.
	Zones []policy.Host
}

//go:embed proxy.pac
var text string

var page = template.Must(template.New("proxy.pac").Funcs(template.FuncMap{"json": literal}).Parse(text))

// File is the file for the rules of p at a moment. A nil p, and a client that is
// not permitted, have no rules: then everything goes the way of what no rule
// names.
func File(p *policy.Policy, at time.Time, o Options) []byte {
	var denied, forwarded, relayed table
	for _, r := range p.Rules() {
		switch {
		case !speaks(p, r, at, o.Client):
		case r.Deny:
			denied.add(r)
		case r.Via == policy.ViaForward:
			forwarded.add(r)
		default:
			relayed.add(r)
		}
	}
	zones := make([]string, len(o.Zones))
	for i, z := range o.Zones {
		zones[i] = z.Name()
	}
	var out bytes.Buffer
	err := page.Execute(&out, struct {
		SHA256, Client, Proxy      string
		Direct                     bool
		Denied, Forwarded, Relayed table
		Zones                      []string
	}{p.SHA256(), whose(o.Client), "PROXY " + o.Proxy.String(), o.Direct, denied, forwarded, relayed, zones})
	if err != nil {
		panic(err) // the template does not fit its data
	}
	return out.Bytes()
}

func whose(client netip.Addr) string {
	if client.IsValid() {
		return client.String()
	}
	return "every client"
}

// speaks reports whether a rule says anything about the way of a client's TCP
// connections by their host's name.
func speaks(p *policy.Policy, r *policy.Rule, at time.Time, client netip.Addr) bool {
	over := !r.Until.IsZero() && !at.Before(r.Until)
	nameless := len(r.Hosts) == 0 && (r.Addresses.Public || len(r.Addresses.Prefixes)+len(r.Addresses.Tags) > 0)
	switch {
	case over, nameless, r.Protocol == policy.UDP:
		return false
	case !client.IsValid():
		return true
	case !p.Client(client, at).Allowed():
		return false
	}
	return r.Clients.Any || slices.ContainsFunc(r.Clients.Prefixes, func(n netip.Prefix) bool { return n.Contains(client.Unmap()) })
}

// table is what rules name: for each kind of pattern the ports, as a flat list of
// first and last ports.
type table struct {
	Names map[string][]uint16 // whole names and addresses
	Below map[string][]uint16 // names below a suffix
	Globs map[string][]uint16 // regular expressions of names with stars inside labels
	All   []uint16            // ports of rules that name no host
}

func (t *table) add(r *policy.Rule) {
	var ports []uint16
	for _, pr := range r.Ports {
		ports = append(ports, pr.First, pr.Last)
	}
	if len(ports) == 0 {
		ports = []uint16{1, 65535} // a deny that names no port refuses them all
	}
	if len(r.Hosts) == 0 {
		t.All = join(t.All, ports)
	}
	for _, h := range r.Hosts {
		ports := ports
		if h.Port != 0 {
			ports = []uint16{h.Port, h.Port}
		}
		suffix, below := h.Suffix()
		host, exact := h.Exact()
		switch {
		case below:
			put(&t.Below, suffix, ports)
		case exact:
			put(&t.Names, host.String(), ports)
		default:
			put(&t.Globs, expression(h.String()), ports)
		}
	}
}

func put(into *map[string][]uint16, key string, ports []uint16) {
	if *into == nil {
		*into = map[string][]uint16{}
	}
	(*into)[key] = join((*into)[key], ports)
}

// join adds ranges that are not there yet; a host of many rules has few.
func join(have, more []uint16) []uint16 {
	for i := 0; i < len(more); i += 2 {
		known := false
		for j := 0; j < len(have); j += 2 {
			known = known || have[j] <= more[i] && more[i+1] <= have[j+1]
		}
		if !known {
			have = append(have, more[i], more[i+1])
		}
	}
	return have
}

// expression is a pattern whose stars stay within their label, as a regular
// expression.
func expression(pattern string) string {
	return "^" + strings.NewReplacer(".", `\.`, "*", "[^.]*").Replace(pattern) + "$"
}

// literal writes a value as JavaScript; keys are sorted, so that the same rules
// give the same file.
func literal(v any) (string, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	err := e.Encode(v)
	return strings.TrimSpace(out.String()), err
}

// MarshalJSON implements json.Marshaler: a table has all its parts, also those
// that are empty.
func (t table) MarshalJSON() ([]byte, error) {
	part := func(m map[string][]uint16) map[string][]uint16 {
		if m == nil {
			return map[string][]uint16{}
		}
		return m
	}
	all := t.All
	if all == nil {
		all = []uint16{}
	}
	return json.Marshal(struct {
		Names map[string][]uint16 `json:"names"`
		Below map[string][]uint16 `json:"below"`
		Globs map[string][]uint16 `json:"globs"`
		All   []uint16            `json:"all"`
	}{part(t.Names), part(t.Below), part(t.Globs), all})
}
