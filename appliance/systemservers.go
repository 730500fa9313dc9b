//go:build linux

package appliance

import (
	"slices"

	"gatehouse/dnsallow"
)

// resolvConf is where the system names its DNS servers, resolv.conf(5).
const resolvConf = "/etc/resolv.conf"

// systemServers are the DNS servers that the system names. DHCP may name them when
// the gate runs already, and others later. For one goroutine at a time.
type systemServers struct {
	path   string
	digest string              // of the file when it was read last
	list   []dnsallow.Upstream // that it named last; a file that names none changes nothing
}

func newSystemServers(path string) *systemServers { return &systemServers{path: path} }

// read takes the servers that the file names now.
func (s *systemServers) read() ([]dnsallow.Upstream, error) {
	// Looked at first: what is written meanwhile is one change too many, not too few.
	s.digest = lookAtFile(s.path, mostText).digest
	list, err := dnsallow.SystemUpstreams(s.path)
	if err == nil {
		s.list = list
	}
	return list, err
}

// serversWatcher takes other DNS servers of the system's once their file has settled.
func (a *Appliance) serversWatcher() *watcher {
	s := a.system
	return &watcher{
		path: s.path, log: a.Log, judged: func() string { return s.digest },
		look: newLookout(s.path, func(path string) sight { return lookAtFile(path, mostText) }).look,
		act:  func(sight) { a.guarded("DNS servers of the system", a.serversChanged) },
	}
}

// serversChanged has the system's present servers asked. Where it names none any
// more (a line that is down for a moment), those before are still the best guess.
func (a *Appliance) serversChanged() {
	before := a.system.list
	list, err := a.system.read()
	switch {
	case err != nil:
		a.tally.ServersRead(false)
		a.Log.Warn("the system names no DNS server; those before are asked", "servers", spelled(before), "err", err)
	case !slices.Equal(list, before):
		a.resolver.SetUpstreams(list)
		a.tally.ServersRead(true)
		a.Log.Info("the system names other DNS servers; they are asked from now on", "servers", spelled(list), "before", spelled(before))
	}
}

func spelled(list []dnsallow.Upstream) []string {
	words := make([]string, len(list))
	for i, u := range list {
		words[i] = u.String()
	}
	return words
}
