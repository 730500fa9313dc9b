package appliance

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"gatehouse/internal/flow"
	"gatehouse/internal/servicetags"
)

// UsedAddress is an address that a passage led to, or that a DNS question was
// answered with.
type UsedAddress struct {
	Addr netip.Addr `json:"addr"`
	Host string     `json:"host"`
	Last time.Time  `json:"last"`
	// Cluster is that of the Service Bus namespace that Host is, by its aliases.
	Cluster string `json:"cluster,omitempty"`
}

// usedAddresses remembers the addresses that rules with an Azure tag led to, so
// that it can be said in advance which of them a new list would refuse. It is a
// flow.Sink.
type usedAddresses struct {
	mu   sync.Mutex
	seen map[netip.Addr]UsedAddress
}

// usedMost bounds how many addresses are remembered; then the one used longest
// ago is forgotten.
const usedMost = 4096

// Record implements flow.Sink.
func (u *usedAddresses) Record(r *flow.Record) {
	if r.Verdict.Rule != nil && len(r.Verdict.Rule.Addresses.Tags) > 0 {
		u.note(r)
	}
}

func (u *usedAddresses) note(r *flow.Record) {
	if !r.Verdict.Allowed() || !r.IP.IsValid() || r.Host == "" {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.seen == nil {
		u.seen = map[netip.Addr]UsedAddress{}
	}
	if _, known := u.seen[r.IP]; !known && len(u.seen) >= usedMost {
		u.forget()
	}
	u.seen[r.IP] = UsedAddress{r.IP, r.Host, r.Time, clusterOf(r.CNAME)}
}

func clusterOf(aliases []string) string {
	for _, alias := range aliases {
		if cluster, ok := servicetags.Cluster(alias); ok {
			return cluster
		}
	}
	return ""
}

func (u *usedAddresses) forget() {
	var oldest UsedAddress
	for _, a := range u.seen {
		if !oldest.Addr.IsValid() || a.Last.Before(oldest.Last) {
			oldest = a
		}
	}
	delete(u.seen, oldest.Addr)
}

// list is all of them, the latest first.
func (u *usedAddresses) list() []UsedAddress {
	u.mu.Lock()
	defer u.mu.Unlock()
	all := make([]UsedAddress, 0, len(u.seen))
	for _, a := range u.seen {
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b UsedAddress) int { return b.Last.Compare(a.Last) })
	return all
}

// UsedInLog reads the addresses that a decision log tells of.
func UsedInLog(path string) ([]UsedAddress, error) {
	f, _, err := flow.OpenPiece(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var u usedAddresses
	_, err = flow.Read(f, u.note)
	return u.list(), err
}

// FallenOut is an address in use that a tag would hold no longer.
type FallenOut struct {
	UsedAddress
	Tag string
}

// FallingOut are those of the used addresses that a tag in use holds today, and
// would not hold with the new list.
func (i *TagImport) FallingOut(used []UsedAddress) (list []FallenOut) {
	holds := func(prefixes []netip.Prefix, a netip.Addr) bool {
		return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	for _, tag := range i.InUse {
		before, _ := i.Before.Prefixes(tag)
		after, _ := i.After.Prefixes(tag)
		for _, a := range used {
			if holds(before, a.Addr.Unmap()) && !holds(after, a.Addr.Unmap()) {
				list = append(list, FallenOut{a, tag})
			}
		}
	}
	return list
}
