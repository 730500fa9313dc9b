package dnsallow

import (
	"context"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/policy"
)

func TestANameOfTheConfigurationIsResolvedWithoutARule(t *testing.T) {
	host := func(name string) policy.Host {
		h, err := policy.ParseHost(name)
		require.NoError(t, err)
		return h
	}
	four, six := netip.MustParseAddr("10.0.0.9"), netip.MustParseAddr("fd00::9")
	r := NewResolver(ResolverConfig{Hosts: map[policy.Host][]netip.Addr{
		host("both.example"): {six, four}, host("six.example"): {six},
	}}, ResolverDeps{})
	defer r.Close()
	for name, want := range map[string][]netip.Addr{"both.example": {four}, "six.example": {six}} {
		list, err := r.Addresses(context.Background(), name)
		require.NoError(t, err)
		require.Equal(t, want, list, name)
	}
	list, err := r.Addresses(context.Background(), "elsewhere.example")
	require.Error(t, err, "there is nobody to ask")
	require.Empty(t, list)
}
