package appliance

import (
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/flow"
	"gatehouse/internal/servicetags"
	"gatehouse/policy"
)

func used(addr, host string, at time.Time) *flow.Record {
	rule := &policy.Rule{Name: "bus", Addresses: policy.Addresses{Tags: []policy.Tag{{Name: "ServiceBus.NorthEurope"}}}}
	return &flow.Record{ID: "GH-00000000", Surface: policy.DNS, Time: at, Client: netip.MustParseAddr("10.20.0.5"), Host: host, CNAME: []string{"ns-sb2-prod-db3-001.cloudapp.net"}, IP: netip.MustParseAddr(addr),
		Verdict: policy.Verdict{Effect: policy.Allow, Reason: policy.Matched, Rule: rule}}
}

func TestItIsSaidWhichAddressesInUseFallOut(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
	var u usedAddresses
	u.Record(used("13.74.107.71", "emergeen.servicebus.windows.net", at))
	u.Record(used("13.69.227.65", "emergeen.servicebus.windows.net", at.Add(time.Minute)))
	require.Equal(t, "prod-db3-001", u.list()[0].Cluster)
	refused, elsewhere := used("20.50.72.1", "a.example.org", at), used("13.69.227.66", "b.example.org", at)
	refused.Verdict.Effect, elsewhere.Verdict.Rule = policy.Deny, &policy.Rule{}
	u.Record(refused)
	u.Record(elsewhere)
	file := func(prefixes ...string) *servicetags.File {
		f, err := servicetags.Parse(strings.NewReader(`{"changeNumber":1,"values":[{"name":"ServiceBus.NorthEurope","properties":{"addressPrefixes":["`+strings.Join(prefixes, `","`)+`"]}}]}`), "x.json")
		require.NoError(t, err)
		return f
	}
	i := &TagImport{Before: file("13.74.107.64/29", "13.69.227.64/29"), After: file("13.74.107.64/29", "20.50.72.0/29"), InUse: []string{"ServiceBus.NorthEurope"}}
	list := i.FallingOut(u.list())
	require.Len(t, list, 1)
	require.Equal(t, "13.69.227.65", list[0].Addr.String())
	require.Equal(t, "ServiceBus.NorthEurope", list[0].Tag)
	require.Equal(t, "emergeen.servicebus.windows.net", list[0].Host)
}

func TestTheDecisionLogTellsWhatIsInUse(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
	path := filepath.Join(t.TempDir(), "decisions.log")
	write(t, path, string(flow.JSON(nil, used("13.74.107.71", "emergeen.servicebus.windows.net", at))))
	list, err := UsedInLog(path)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, "emergeen.servicebus.windows.net", list[0].Host)
	require.True(t, at.Equal(list[0].Last))
}

func TestTheAddressesInUseAreBounded(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
	var u usedAddresses
	for i := range usedMost + 10 {
		u.Record(used(netip.AddrFrom4([4]byte{13, 74, byte(i >> 8), byte(i)}).String(), "n.example.org", at.Add(time.Duration(i)*time.Second)))
	}
	list := u.list()
	require.Len(t, list, usedMost)
	require.Equal(t, at.Add(10*time.Second), list[len(list)-1].Last, "the ones used longest ago are forgotten")
}
