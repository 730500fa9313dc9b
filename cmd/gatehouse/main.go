// Command gatehouse is the gate at a school's edge: see README.md for what it
// does, and "gatehouse help" for how it is told.
package main

import (
	"os"

	_ "time/tzdata" // a container has no zones of its own
)

func main() {
	os.Exit(execute(os.Args[1:], os.Stdout, os.Stderr))
}
