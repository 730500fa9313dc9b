//go:build linux

package appliance

import (
	"fmt"
	"syscall"

	"gatehouse/appliance/doctor"
)

const (
	// descriptorsEach is what a tunnel takes: one towards the client, one towards
	// the origin.
	descriptorsEach = 2
	// descriptorsSpare are left to everything else, a quarter where there are few: DNS,
	// the appliance's own listeners, the decision log, look-ups for tunnels. Under a
	// limit of 20,000, which is what peers were measured with, 9,500 tunnels are carried.
	descriptorsSpare = 768
)

// affordable is how many of so many connections of clients the gate can carry by so many
// descriptors, at least one. Beyond them a client is refused, and hears it: who takes the
// last descriptor makes the next one wait for an answer, and his own origin look as if
// it could not be reached.
func affordable(connections int, descriptors uint64) int {
	room := (descriptors - min(descriptorsSpare, descriptors/4)) / descriptorsEach
	return int(max(1, min(uint64(connections), room)))
}

// affordable is how many connections of clients the gate takes.
func (a *Appliance) affordable() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return a.Config.Limits.Connections
	}
	return affordable(a.Config.Limits.Connections, limit.Cur)
}

// sayAffordable says at start that there are fewer than the configuration has it.
func (a *Appliance) sayAffordable() {
	if n := a.affordable(); n < a.Config.Limits.Connections {
		a.Log.Warn("there are too few descriptors for limits.connections: clients beyond are refused (limit); raise LimitNOFILE of the unit, or lower it",
			"connections", n, "limits.connections", a.Config.Limits.Connections)
	}
}

func (a *Appliance) descriptorCheck() *doctor.Check {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return doctor.Suspect("descriptors", err.Error(), "")
	}
	connections := a.Config.Limits.Connections
	wanted := uint64(connections) * descriptorsEach
	says := fmt.Sprintf("%d may be open; %d connections take up to %d", limit.Cur, connections, wanted)
	if n := affordable(connections, limit.Cur); n < connections {
		return doctor.Suspect("descriptors", fmt.Sprintf("%s: %d are taken, clients beyond are refused", says, n),
			fmt.Sprintf("LimitNOFILE=%d in the unit, or a smaller limits.connections", wanted+descriptorsSpare))
	}
	return doctor.Fine("descriptors", says)
}
