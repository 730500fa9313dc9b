package doctor

import (
	"crypto/tls"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
	"gatehouse/policy"
	"gatehouse/proxy"
)

// leftAlone tries a place on port 443 of a tunnel through the parent, which leads
// to an origin that the test plays, and gives what Survival found.
func leftAlone(t *testing.T, idle time.Duration, play func(*testing.T, *nettest.Peer)) *Check {
	t.Helper()
	good := nettest.NewAuthority(t, "A good authority")
	origin := nettest.NewSecureOrigin(t, &tls.Config{Certificates: []tls.Certificate{good.Sign(t, nil, "www.example.org")}})
	_, parent := nettest.NewParent(t, nettest.Parent{To: origin.Addr})
	p, err := policy.Compile(policy.Spec{Rules: []policy.Rule{rule(t, "site", "www.example.org", 443, nil)}, TreatAsPublic: loopback})
	require.NoError(t, err)
	gate := proxy.New(proxy.Config{Parents: []proxy.Parent{{Name: "county", Host: "127.0.0.1", Port: uint16(parent)}}}, proxy.Deps{Policy: new(policy.Live), Resolver: known})
	now := time.Now() // and it stands still
	d := New(Options{Idle: idle, Step: nettest.Patience}, Deps{Policy: p, Resolver: known, Gate: Through(gate), Roots: good.Roots, Now: func() time.Time { return now }})
	done := make(chan *Check, 1)
	go func() {
		d.Requirements(t.Context())
		done <- d.Survival(t.Context())
	}()
	first := origin.Take(t)
	first.Head()
	first.Say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	play(t, origin.Take(t))
	found := <-done
	require.Len(t, found.Parts, 1)
	require.Equal(t, "through county, www.example.org:443", found.Parts[0].Name)
	return found.Parts[0]
}

func TestATunnelThatIsLeftAloneAndLivesIsToldOf(t *testing.T) {
	c := leftAlone(t, time.Millisecond, func(t *testing.T, s *nettest.Peer) {
		require.Contains(t, s.Head(), "GET / HTTP/1.1\r\n")
		s.Say("HTTP/1.1 204 No Content\r\n\r\n")
	})
	require.Equal(t, OK, c.State, c.Says)
	require.Equal(t, "lives after 1ms without a byte, and answers 204", c.Says)
}

func TestATunnelThatEndsWhileItIsLeftAloneIsToldOf(t *testing.T) {
	c := leftAlone(t, MostIdle, func(t *testing.T, s *nettest.Peer) {
		require.NoError(t, s.Conn.(*tls.Conn).Handshake())
		s.Close()
	})
	require.Equal(t, Warning, c.State)
	require.Equal(t, "ended after 0s of the 15m0s it was left alone", c.Says)
	require.Contains(t, c.Fix, "the parent proxy ends tunnels")
}

func TestATunnelThatWasForgottenIsToldOf(t *testing.T) {
	c := leftAlone(t, time.Millisecond, func(t *testing.T, s *nettest.Peer) {
		s.Head()
		s.Reset()
	})
	require.Equal(t, Failed, c.State)
	require.Contains(t, c.Says, "was lost without a word within the 1ms it was left alone")
}

func TestWhereNothingWorksNoTunnelIsLeftAlone(t *testing.T) {
	p, err := policy.Compile(policy.Spec{Rules: []policy.Rule{rule(t, "site", "www.example.org", 443, nil)}, TreatAsPublic: loopback})
	require.NoError(t, err)
	gate := proxy.New(proxy.Config{}, proxy.Deps{Policy: new(policy.Live), Resolver: book{}})
	d := New(Options{Idle: time.Hour}, Deps{Policy: p, Resolver: book{}, Gate: Through(gate)})
	_, _, err = d.Requirements(t.Context())
	require.NoError(t, err)
	require.Nil(t, d.Survival(t.Context()))
}
