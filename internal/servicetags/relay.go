package servicetags

import (
	"strconv"
	"strings"
)

// How Azure Relay names its clusters and their gateways, as Microsoft's own
// script for firewalls reckons it (azure-relay-dotnet, tools/GetNamespaceInfo.ps1):
// a namespace is an alias of its cluster, and the gateways of the cluster
// prod-db3-001 are g0-prod-db3-001-sb to g127-prod-db3-001-sb, and gv0 to gv127,
// below the same domain as the namespace.
const mostGateways = 128

// Cluster is the cluster that an alias of a Service Bus namespace names:
// "prod-db3-001" of ns-sb2-prod-db3-001.cloudapp.net, and also of the parts -s1,
// -s2 and -s3 of one that is spread over zones. ok is false for any other name.
func Cluster(alias string) (cluster string, ok bool) {
	label, _, _ := strings.Cut(strings.ToLower(alias), ".")
	for _, prefix := range []string{"ns-sb2-", "ns-"} {
		if rest, is := strings.CutPrefix(label, prefix); is {
			for _, zone := range []string{"-s1", "-s2", "-s3"} {
				rest = strings.TrimSuffix(rest, zone)
			}
			return rest, rest != ""
		}
	}
	return "", false
}

// Gateway is the cluster whose relay gateway a name is, and its number. ok is
// false for any other name.
func Gateway(name string) (cluster string, number int, ok bool) {
	label, _, below := strings.Cut(strings.ToLower(name), ".")
	rest, is := strings.CutPrefix(label, "g")
	rest = strings.TrimPrefix(rest, "v")
	digits, cluster, cut := strings.Cut(rest, "-")
	cluster, sb := strings.CutSuffix(cluster, "-sb")
	number, err := strconv.Atoi(digits)
	if !is || !below || !cut || !sb || cluster == "" || err != nil || number < 0 || number >= mostGateways || strconv.Itoa(number) != digits {
		return "", 0, false
	}
	return cluster, number, true
}
