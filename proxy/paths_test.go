package proxy

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/policy"
)

// TestNoTrickWithAPathGetsThroughTheGate says the vectors of package policy as
// raw bytes. What passes arrives as it came.
func TestNoTrickWithAPathGetsThroughTheGate(t *testing.T) {
	overAll(t, testNoTrickWithAPathGetsThroughTheGate)
}

func testNoTrickWithAPathGetsThroughTheGate(t *testing.T, over carrier) {
	text, err := os.ReadFile("../policy/testdata/paths.tsv")
	require.NoError(t, err)
	glob, err := policy.ParseGlob("/pub/*")
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		field := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		t.Run(field[2], func(t *testing.T) {
			o := over.origin(t)
			g := over.gate(t, options{}, over.allow(www, o.Port, func(r *policy.Rule) { r.Paths = []policy.Glob{glob} }))
			c := g.dial().Say("GET http://www.example.org:%d%s HTTP/1.1\r\nHost: www.example.org:%[1]d\r\nConnection: close\r\n\r\n", o.Port, field[1])
			if field[0] == "matched" {
				s := o.Take(t)
				require.True(t, strings.HasPrefix(s.Head(), "GET "+field[1]+" HTTP/1.1\r\n"))
				s.Say("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").Close()
			}
			resp, body := c.Response("GET")
			require.Equal(t, map[string]int{"matched": 204, "path-not-listed": 403, "bad-request": 400}[field[0]], resp.StatusCode, body)
			require.Equal(t, field[0], g.record().Verdict.Reason.String())
			if field[0] != "matched" && (!over.secure || over.published) { // inside TLS the origin is dialled before anything is asked
				o.Untouched(t)
			}
		})
	}
}
