//go:build linux

package appliance

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/flow"
	"gatehouse/policy"
)

// gauge counts what is open.
type gauge struct{ open, ever int }

func (g *gauge) Opened(policy.Surface) { g.open, g.ever = g.open+1, g.ever+1 }
func (g *gauge) Record(*flow.Record)   { g.open-- }

// nowhere finds no address.
type nowhere struct{}

func (nowhere) Resolve(context.Context, policy.Permit) ([]policy.Permit, policy.Verdict, error) {
	return nil, policy.Verdict{}, errors.New("no such host")
}

// The gauge of open passages fell below zero, by one for each of the gate's own.
func TestThePassagesOfTheGateItselfBeginWhereTheyEnd(t *testing.T) {
	p, err := fetchPolicy(nil)
	require.NoError(t, err)
	for what, address := range map[string]string{
		"one that is refused": "www.example.org:443", "one that fails": fetchHosts[0] + ":443",
	} {
		t.Run(what, func(t *testing.T) {
			g := new(gauge)
			own := &ownPassages{policy: p, resolver: nowhere{}, book: &flow.Book{Sinks: []flow.Sink{g}}, now: time.Now,
				dial: func(context.Context, string, netip.AddrPort) (net.Conn, error) { return nil, errors.New("not reached") }}
			_, err := own.connect(t.Context(), "tcp", address)
			require.Error(t, err)
			require.Equal(t, gauge{open: 0, ever: 1}, *g)
		})
	}
}
