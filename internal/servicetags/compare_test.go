package servicetags

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCompareTellsWhatNineWeeksChanged(t *testing.T) {
	old, err := LoadPath("testdata/ServiceTags_Public_trimmed_cn360.json")
	require.NoError(t, err)
	require.True(t, old.Older(Builtin()))
	require.False(t, Builtin().Older(old))
	require.False(t, old.Older(old))
	changes := map[string]Change{}
	for _, c := range Compare(old, Builtin()) {
		changes[c.Tag] = c
	}
	bus := changes["ServiceBus.NorthEurope"]
	require.Equal(t, []int{22, 15, 0, 7}, []int{bus.Before, bus.After, len(bus.Added), len(bus.Removed)})
	region := changes["AzureCloud.northeurope"]
	require.Equal(t, []int{377, 388, 14, 3}, []int{region.Before, region.After, len(region.Added), len(region.Removed)})
	before, _ := old.Prefixes("ServiceBus.NorthEurope")
	after, _ := Builtin().Prefixes("ServiceBus.NorthEurope")
	require.False(t, Shrinks(before, after), "an ordinary change")
	require.Empty(t, Compare(old, old))
}

func TestCompareTellsOfTagsThatComeAndGo(t *testing.T) {
	file := func(text string) *File {
		f, err := Parse(strings.NewReader(text), "tags.json")
		require.NoError(t, err)
		return f
	}
	before := file(small)
	after := file(strings.Replace(small, "ServiceBus.NorthEurope", "EventHub.NorthEurope", 1))
	changes := Compare(before, after)
	require.Len(t, changes, 2)
	require.True(t, changes[0].New)
	require.Equal(t, "EventHub.NorthEurope", changes[0].Tag)
	require.True(t, changes[1].Gone)
	require.Equal(t, "ServiceBus.NorthEurope", changes[1].Tag)
}

func TestShrinks(t *testing.T) {
	list := func(s ...string) (out []netip.Prefix) {
		for _, p := range s {
			out = append(out, netip.MustParsePrefix(p))
		}
		return out
	}
	three := list("192.0.2.0/28", "192.0.2.16/28", "192.0.2.32/28")
	require.False(t, Shrinks(three, three[:2]), "a third is not more than a third")
	require.True(t, Shrinks(three, three[:1]))
	require.True(t, Shrinks(three, nil))
	require.False(t, Shrinks(nil, nil))
	require.True(t, Shrinks(list("10.0.0.0/9", "192.0.2.1/32", "192.0.2.2/32"), three), "as many ranges, but hardly an address")
	require.True(t, Shrinks(list("2001:db8::/48", "2001:db8:1::/48"), list("2001:db8::/48")))
}

func TestFilesWithoutANumberAreComparedByDate(t *testing.T) {
	xml, err := LoadPath("testdata/PublicIPs_20200824.xml")
	require.NoError(t, err)
	require.True(t, xml.Older(Builtin()))
	require.False(t, Builtin().Older(xml))
	require.False(t, (&File{}).Older(Builtin()), "who has neither is not known to be older")
}
