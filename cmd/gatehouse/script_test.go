package main

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"gatehouse": main})
}

// TestScripts runs the dialogues in testdata/script: what somebody types, and
// what he is told. Each has a folder of its own, and ADDRESS1 to ADDRESS3
// are places to listen at.
func TestScripts(t *testing.T) {
	var scripts atomic.Int32
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("XDG_CONFIG_HOME", e.WorkDir+"/home")
			host := fmt.Sprintf("127.0.78.%d", 1+scripts.Add(1)%250) // no script takes another's ports
			for i, at := range freeAddresses(t, host, 3) {
				e.Setenv(fmt.Sprintf("ADDRESS%d", i+1), at)
			}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){"expand": expand, "replace": replace, "eventually": eventually},
	})
}
