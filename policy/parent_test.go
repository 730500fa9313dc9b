package policy

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestARuleThatNamesNoParentFollowsOneThatDoes(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	pattern, err := ParseHostPattern("www.example.org")
	require.NoError(t, err)
	host, _ := pattern.Exact()
	rule := func(name, parent string, port uint16) Rule {
		return Rule{
			Name: name, Hosts: []ListedHost{{HostPattern: pattern}}, Clients: Clients{Any: true},
			Ports: []PortRange{{First: port, Last: port}}, Parent: parent, Addresses: Addresses{Default: true},
		}
	}
	ended := rule("ended", "old", 443)
	ended.Until = now.Add(-time.Hour)
	p, err := Compile(Spec{Rules: []Rule{ended, rule("silent", "", 443), rule("says", "county", 443), rule("other", "direct", 8443), rule("none", "", 80)}})
	require.NoError(t, err)
	for port, want := range map[uint16]string{443: "county", 8443: "direct", 80: ""} {
		v, permit := p.Connect(Connect{At: now, Surface: CONNECT, Client: netip.MustParseAddr("127.0.0.1"), Dest: Dest{Host: host, Port: port}})
		require.True(t, v.Allowed())
		require.Equal(t, want, v.Parent, "port %d", port)
		require.Equal(t, want, p.Review(permit, now).Parent)
	}
}
