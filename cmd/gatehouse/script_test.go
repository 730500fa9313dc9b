package main

import (
	"net"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"gatehouse": main})
}

// TestScripts runs the dialogues in testdata/script: what somebody types, and
// what he is told. Each has a folder of its own, and PORT1 to PORT3 are ports of
// loopback that were free a moment ago.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("XDG_CONFIG_HOME", e.WorkDir+"/home")
			for _, name := range []string{"PORT1", "PORT2", "PORT3"} {
				ln, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					return err
				}
				defer ln.Close()
				_, port, err := net.SplitHostPort(ln.Addr().String())
				if err != nil {
					return err
				}
				e.Setenv(name, port)
			}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){"expand": expand, "replace": replace, "eventually": eventually},
	})
}
