package firewall

import "time"

const (
	// Grace is how long a pin outlives the answer it came from: programs keep
	// addresses past their TTL (the .NET Framework for two minutes,
	// ServicePointManager.DnsRefreshTimeout), and names with many addresses
	// rotate through them.
	Grace = 5 * time.Minute
	// mostPins bounds the elements of one set.
	mostPins = 16384
)
