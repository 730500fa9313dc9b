package servicetags

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The names are those of public examples, but for db3, which stands for a
// cluster in Dublin: no real one is published.
func TestAClusterIsReadFromTheAliasOfANamespace(t *testing.T) {
	for alias, want := range map[string]string{
		"ns-sb2-prod-bl2-002.cloudapp.net":            "prod-bl2-002",
		"NS-SB2-PROD-SY3-001.cloudapp.net":            "prod-sy3-001",
		"ns-sb2-prod-bn3-az402.trafficmanager.net":    "prod-bn3-az402",
		"ns-sb2-prod-bn3-az402-s2.cloudapp.net":       "prod-bn3-az402",
		"ns-prod-db3-001.cloudapp.net":                "prod-db3-001",
		"waws-prod-db3-129.cloudapp.net":              "",
		"namespace1ksk.servicebus.windows.net":        "",
		"ns-sb2-":                                     "",
		"emergeen.privatelink.servicebus.windows.net": "",
	} {
		cluster, ok := Cluster(alias)
		require.Equal(t, want, cluster, alias)
		require.Equal(t, want != "", ok, alias)
	}
}

func TestAGatewayIsReadFromItsName(t *testing.T) {
	for name, want := range map[string]struct {
		cluster string
		number  int
	}{
		"g0-prod-sy3-001-sb.servicebus.windows.net":   {"prod-sy3-001", 0},
		"g31-prod-sy3-001-sb.servicebus.windows.net":  {"prod-sy3-001", 31},
		"GV11-prod-sn3-014-sb.servicebus.windows.net": {"prod-sn3-014", 11},
		"g127-prod-db3-001-sb.servicebus.windows.net": {"prod-db3-001", 127},
	} {
		cluster, number, ok := Gateway(name)
		require.True(t, ok, name)
		require.Equal(t, want.cluster, cluster, name)
		require.Equal(t, want.number, number, name)
	}
	for _, name := range []string{
		"g128-prod-sy3-001-sb.servicebus.windows.net", "g01-prod-sy3-001-sb.servicebus.windows.net", "g-prod-sb.servicebus.windows.net",
		"g0-sb.servicebus.windows.net", "g0-prod-sy3-001.servicebus.windows.net", "emergeen.servicebus.windows.net", "g0-prod-sy3-001-sb", "",
		"x0-prod-sy3-001-sb.servicebus.windows.net", "g-1-prod-sb.servicebus.windows.net",
	} {
		_, _, ok := Gateway(name)
		require.False(t, ok, name)
	}
}
