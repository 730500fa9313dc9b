package nettest

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Main is the TestMain of a package that accounts for its goroutines: it runs the
// tests, fails where they passed and left one behind, and does not return. A
// goroutine that sees its connection closed ends soon after the last test, but how
// soon is the scheduler's business: it has Patience, where goleak's own TestMain
// gives it half a second.
func Main(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if err := leaked(Patience); err != nil {
			fmt.Fprintf(os.Stderr, "%s after the last test: %v\n", Patience, err)
			code = 1
		}
	}
	os.Exit(code)
}

// leaked tells which goroutines are left; it looks until there are none, or for as
// long as is given.
func leaked(within time.Duration) error {
	for until := time.Now().Add(within); ; {
		if err := goleak.Find(); err == nil || time.Now().After(until) {
			return err
		}
	}
}
