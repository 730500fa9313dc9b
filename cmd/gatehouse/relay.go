package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"gatehouse/appliance"
	"gatehouse/internal/servicetags"
)

// relayNote says of the name of a relay gateway which cluster it belongs to, and
// which namespaces the running gate has seen on that cluster: theirs are the
// aliases that name it. It is empty for any other name.
func relayNote(ctx context.Context, stateDir, name string) string {
	cluster, number, ok := servicetags.Gateway(name)
	if !ok {
		return ""
	}
	note := fmt.Sprintf("%s is relay gateway %d of the cluster %s", name, number, cluster)
	used, err := appliance.NewControl(stateDir).UsedAddresses(ctx)
	if err != nil {
		return note + "; whose it is cannot be told, for no running gatehouse answers"
	}
	_, domain, _ := strings.Cut(name, ".")
	var namespaces []string
	for _, a := range used {
		if a.Cluster == cluster && strings.HasSuffix(a.Host, "."+domain) && !slices.Contains(namespaces, a.Host) {
			namespaces = append(namespaces, a.Host)
		}
	}
	if len(namespaces) == 0 {
		return note + ", on which the running gate has seen no namespace"
	}
	slices.Sort(namespaces)
	return note + ", that of " + strings.Join(namespaces, " and ") + " by the alias"
}
