// Package appliance is the building: it reads gatehouse.toml, puts the rules in
// force and keeps them so, opens the doors, and lets the rooms (proxy, dnsallow,
// metrics) work together, which do not know each other.
//
// What it takes care of: which files hold (files.go, config.go), the rules in
// force and the last good file (rulebook.go, lastgood.go), changes of files
// (watch.go), Azure's service tags (tags.go), the listeners and their guards
// (listen.go, doors.go, admin.go, control.go, controlserver.go), and the life of
// the process from start to drain (appliance.go, run.go).
//
// The gate itself is built on Linux only; what reads configurations and accounts
// for decisions is built everywhere, so that rules can be checked on an admin's
// own machine.
//
// What it is not: it decides nothing about any passage (package policy does)
// and carries none (packages proxy and dnsallow do).
package appliance
