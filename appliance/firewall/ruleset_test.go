package firewall

import (
	"flag"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/policy"
)

var update = flag.Bool("update", false, "write the golden files anew")

func ports(list ...uint16) (all []policy.PortRange) {
	for i := 0; i < len(list); i += 2 {
		all = append(all, policy.PortRange{First: list[i], Last: list[i+1]})
	}
	return all
}

func networks(list ...string) (all []netip.Prefix) {
	for _, s := range list {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

func doors(list ...string) (all []netip.AddrPort) {
	for _, s := range list {
		all = append(all, netip.MustParseAddrPort(s))
	}
	return all
}

func pin(group int, addr string, protocol policy.Protocol, first, last uint16, d time.Duration) Pin {
	return Pin{Slot{group, netip.MustParseAddr(addr), protocol}, policy.PortRange{First: first, Last: last}, d}
}

// plans are gates as schools have them; each has a golden file.
func plans() map[string]Plan {
	inPath := Plan{
		SHA256: strings.Repeat("ab", 32),
		LAN:    []string{"lan0"}, WAN: []string{"wan0"},
		Clients: networks("127.0.0.0/8", "::1/128", "10.20.0.0/16", "10.20.0.5/32", "2001:db8:20::/48"),
		Served: []Door{
			{Name: "proxy", At: netip.MustParseAddrPort("10.20.0.1:3128")},
			{Name: "names", At: netip.MustParseAddrPort("10.20.0.1:53")}, {Name: "names", At: netip.MustParseAddrPort("10.20.0.1:53"), UDP: true},
			{Name: "admin", At: netip.MustParseAddrPort("127.0.0.1:9080")},
			{Name: "metrics", At: netip.MustParseAddrPort("[2001:db8:20::1]:9081")},
		},
		Published: []Way{
			{"emerge", doors("10.20.0.1:8443", "[2001:db8:20::1]:8443", "127.0.0.1:8444"), networks("10.30.0.0/16", "10.30.1.0/24", "2001:db8:30::/48")},
			{"four", doors("[::]:8080"), networks("10.31.0.0/16")},
			{"nobody", doors("10.20.0.1:8081"), networks("127.0.0.0/8")},
		},
		Open: []uint16{22}, Peers: networks("10.20.0.3/32", "fe80::3/128"),
		DNS: doors("10.20.0.1:53", "[2001:db8:20::1]:53"), Gateway: doors("10.20.0.1:3129", "[2001:db8:20::1]:3129"),
		Ports:   ports(80, 80, 443, 443, 5671, 5672, 9350, 9354),
		Servers: networks("10.0.0.10/32"),
		Groups: []Group{
			{networks("10.20.0.5/32", "2001:db8:20::5/128"), []string{"sql", "time"}},
			{networks("10.20.0.0/16"), []string{"bus"}},
		},
		Pins: []Pin{
			pin(0, "10.0.0.20", policy.TCP, 1433, 1433, 0), pin(0, "10.0.0.20", policy.UDP, 1434, 1434, 0), pin(0, "2001:db8:7::20", policy.TCP, 1433, 1433, 0),
			pin(1, "203.0.113.7", policy.TCP, 9350, 9354, 90*time.Second), pin(1, "203.0.113.7", policy.TCP, 9352, 9400, 10*time.Minute),
		},
	}
	everywhere := inPath
	everywhere.Published = []Way{{"emerge", doors("0.0.0.0:8080"), networks("10.30.0.0/16", "2001:db8:30::/48")}}
	everywhere.LAN, everywhere.WAN, everywhere.Groups, everywhere.Pins, everywhere.Servers, everywhere.Open, everywhere.Peers = nil, nil, nil, nil, nil, nil, nil
	everywhere.Served = []Door{{Name: "proxy", At: netip.MustParseAddrPort("[::]:3128")}, {Name: "proxy", At: netip.MustParseAddrPort("0.0.0.0:3127")}}
	everywhere.DNS, everywhere.Gateway = doors("0.0.0.0:53"), doors("[::]:3129")
	everywhere.GatewayFrom = networks("10.20.0.9/32")
	return map[string]Plan{"in_the_path": inPath, "by_networks": everywhere, "nothing_but_closed": {}}
}

func TestTheRulesetOfAPlan(t *testing.T) {
	for name, plan := range plans() {
		t.Run(strings.ReplaceAll(name, "_", " "), func(t *testing.T) {
			got, path := Ruleset(plan), filepath.Join("testdata", name+".nft")
			if *update {
				require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
			}
			want, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, string(want), got)
			require.Equal(t, got, Ruleset(plan), "the same plan is the same text")
		})
	}
}

// TestTheKernelTakesTheRuleset needs root and nft, and is asked for by
// GATEHOUSE_NETNS=required. It loads into a network namespace of its own.
func TestTheKernelTakesTheRuleset(t *testing.T) {
	if os.Getenv("GATEHOUSE_NETNS") != "required" {
		t.Skip("it loads firewalls: as root, with GATEHOUSE_NETNS=required")
	}
	for name := range plans() {
		file := filepath.Join("testdata", name+".nft")
		script := "nft --check -f $0 && nft -f $0 && nft list ruleset > $1/once && nft -f $0 && nft list ruleset > $1/twice && cmp $1/once $1/twice"
		out, err := exec.Command("unshare", "-n", "sh", "-c", strings.ReplaceAll(script, "nft list ruleset", "nft --stateless list ruleset"), file, t.TempDir()).CombinedOutput()
		require.NoError(t, err, "%s\n%s", name, out)
	}
}

func TestPinsOfOneAddressDoNotOverlap(t *testing.T) {
	const far = "203.0.113.7"
	for _, test := range []struct {
		name string
		pins []Pin
		want []Pin
	}{
		{"none", nil, nil},
		{"one", []Pin{pin(0, far, policy.TCP, 443, 443, 9)}, []Pin{pin(0, far, policy.TCP, 443, 443, 9)}},
		{"the same twice lives as long as the longer", []Pin{pin(0, far, policy.TCP, 443, 443, 9), pin(0, far, policy.TCP, 443, 443, 7)}, []Pin{pin(0, far, policy.TCP, 443, 443, 9)}},
		{"what has no end lives longest", []Pin{pin(0, far, policy.TCP, 443, 443, 9), pin(0, far, policy.TCP, 443, 443, 0)}, []Pin{pin(0, far, policy.TCP, 443, 443, 0)}},
		{"overlapping ranges are cut", []Pin{pin(0, far, policy.TCP, 10, 20, 9), pin(0, far, policy.TCP, 15, 30, 7)}, []Pin{pin(0, far, policy.TCP, 10, 20, 9), pin(0, far, policy.TCP, 21, 30, 7)}},
		{"a range inside another that ends sooner", []Pin{pin(0, far, policy.TCP, 10, 30, 7), pin(0, far, policy.TCP, 15, 20, 9)},
			[]Pin{pin(0, far, policy.TCP, 10, 14, 7), pin(0, far, policy.TCP, 15, 20, 9), pin(0, far, policy.TCP, 21, 30, 7)}},
		{"neighbours of the same length are one", []Pin{pin(0, far, policy.TCP, 10, 14, 7), pin(0, far, policy.TCP, 15, 20, 7)}, []Pin{pin(0, far, policy.TCP, 10, 20, 7)}},
		{"a gap stays a gap", []Pin{pin(0, far, policy.TCP, 10, 10, 7), pin(0, far, policy.TCP, 12, 12, 7)}, []Pin{pin(0, far, policy.TCP, 10, 10, 7), pin(0, far, policy.TCP, 12, 12, 7)}},
		{"the last port of all", []Pin{pin(0, far, policy.TCP, 1, 65535, 7), pin(0, far, policy.TCP, 65535, 65535, 9)},
			[]Pin{pin(0, far, policy.TCP, 1, 65534, 7), pin(0, far, policy.TCP, 65535, 65535, 9)}},
		{"other groups, addresses and protocols stand by themselves", []Pin{pin(1, far, policy.TCP, 1, 9, 7), pin(0, far, policy.UDP, 1, 9, 7), pin(0, far, policy.TCP, 5, 5, 9)},
			[]Pin{pin(0, far, policy.TCP, 5, 5, 9), pin(0, far, policy.UDP, 1, 9, 7), pin(1, far, policy.TCP, 1, 9, 7)}},
	} {
		t.Run(test.name, func(t *testing.T) { require.Equal(t, test.want, Disjoint(test.pins)) })
	}
}
