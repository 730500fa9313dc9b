package proxy

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
	"gatehouse/policy"
	"gatehouse/proxy/parent"
)

// permitsFor are the judged addresses of the only host of some rules.
func (g *gate) permitsFor(t *testing.T, host string, port int) []policy.Permit {
	t.Helper()
	h, err := policy.ParseHost(host)
	require.NoError(t, err)
	v, permit := g.server.deps.Policy.Policy().Connect(policy.Connect{
		At: g.server.deps.Now(), Surface: policy.CONNECT, Client: netip.MustParseAddr("127.0.0.1"), Dest: policy.Dest{Host: h, Port: uint16(port)},
	})
	require.True(t, v.Allowed(), v.Reason)
	permits, _, err := g.server.deps.Resolver.Resolve(t.Context(), permit)
	require.NoError(t, err)
	return permits
}

func TestWhoExaminesTheWayGoesAsAPassageWould(t *testing.T) {
	up, origin := nettest.NewOrigin(t), nettest.NewOrigin(t)
	g := newGate(t, parents(through("county", up.Port, loggedIn)), allow("www.example.org", origin.Port, rawTCP))
	permits := g.permitsFor(t, "www.example.org", origin.Port)

	r, err := g.server.Reach(t.Context(), "", true, permits)
	require.NoError(t, err)
	up.Take(t)
	require.Equal(t, "county", r.Parent)
	require.True(t, r.Absolute)
	require.NotEmpty(t, r.Login)
	r.Close()

	r, err = g.server.Reach(t.Context(), "direct", true, permits)
	require.NoError(t, err)
	origin.Take(t)
	require.Empty(t, r.Parent)
	require.False(t, r.Absolute)
	require.Empty(t, r.Login)
	require.Equal(t, permits[0].Addr(), r.Permit.Addr())
	r.Close()

	_, err = g.server.Reach(t.Context(), "borough", true, permits)
	require.ErrorIs(t, err, errNoParent)
	_, err = g.server.Reach(t.Context(), "direct", true, nil)
	require.ErrorIs(t, err, errNoPermit)
}

func TestAFaultOfAParentOnTheWayIsNamed(t *testing.T) {
	_, port := nettest.NewCannedOrigin(t, "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", false)
	g := newGate(t, parents(through("county", port)), allow("www.example.org", 5672, rawTCP))
	_, err := g.server.Reach(t.Context(), "", false, g.permitsFor(t, "www.example.org", 5672))
	var fault *ParentFault
	require.ErrorAs(t, err, &fault)
	require.Equal(t, parent.Login, fault.Cause)
}

func TestEachParentIsTriedByItself(t *testing.T) {
	up := nettest.NewOrigin(t)
	g := newGate(t, parents(through("county", up.Port), through("spare", nettest.Deaf(t))))
	trials := g.server.TryParents(t.Context())
	require.Len(t, trials, 2)
	require.NoError(t, trials[0].Err)
	require.Equal(t, up.Addr, trials[0].At.String())
	var fault *ParentFault
	require.ErrorAs(t, trials[1].Err, &fault)
	require.Equal(t, ParentTrial{Parent: "spare", Err: fault}, trials[1])
}

func TestAStatusSaysWhatAParentDidNotDo(t *testing.T) {
	for status, cause := range map[int]parent.Cause{407: parent.Login, 411: parent.Length, 417: parent.Expectation, 501: parent.Method, 503: parent.Destination} {
		require.Equal(t, cause, ParentFaultOf("county", status).Cause)
	}
	require.Nil(t, ParentFaultOf("county", 404))
}
