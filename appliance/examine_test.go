package appliance

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/appliance/doctor"
	"gatehouse/internal/nettest"
)

// found is the check called name, at whatever depth.
func found(checks []*doctor.Check, name string) *doctor.Check {
	for _, c := range checks {
		if c.Name == name {
			return c
		}
		if below := found(c.Parts, name); below != nil {
			return below
		}
	}
	return nil
}

func TestTheDoctorTriesWhatTheRulesInForcePermit(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText+`
[[pack]]
name = "xporter"
`)
	s.dns.Zone(t, "www.groupcall.test. 60 IN A 127.0.0.1", "relay.groupcall.test. 60 IN A 127.0.0.1")
	report, err := NewControl(s.Config.State.Dir).Doctor(t.Context(), doctor.Options{})
	require.NoError(t, err)

	site := found(report.Checks, "www.groupcall.test:"+s.port)
	require.Equal(t, doctor.OK, site.State, "%s", report)
	require.Contains(t, found(site.Parts, "GET").Says, "answers 200")
	require.Equal(t, doctor.OK, found(report.Checks, "relay.groupcall.test:"+s.echo).State)
	require.Equal(t, doctor.OK, found(report.Checks, "gate").State)
	require.Equal(t, doctor.OK, found(report.Checks, "disk").State)
	require.Equal(t, doctor.OK, found(report.Checks, s.dns.Addr).State)
	require.Equal(t, doctor.Failed, found(report.Checks, "Azure addresses").State, "the built-in list is old, and that is said")

	require.Equal(t, map[string]bool{"xporter": false}, report.Ready, "the DNS of the test knows none of its names")
	_, text := s.admin("GET", "/metrics")
	require.Contains(t, text, `gatehouse_pack_ready{pack="xporter"} 0`)

	_, err = NewControl(s.Config.State.Dir).Doctor(t.Context(), doctor.Options{Pack: "heartbeat"})
	require.ErrorContains(t, err, "no rule of this pack is in use")
}

func TestWithoutRulesInForceTheDoctorSaysSo(t *testing.T) {
	t.Parallel()
	s := newSite(t, "version = 1\n")
	report, err := NewControl(s.Config.State.Dir).Doctor(t.Context(), doctor.Options{})
	require.NoError(t, err)
	require.Equal(t, doctor.Failed, found(report.Checks, "gate").State)
	require.Contains(t, found(report.Checks, "gate").Fix, "gatehouse check ")
	require.Empty(t, report.Ready)
}

func TestTheDoctorGoesThroughTheParentsThatTheGateGoesThrough(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	_, parent := nettest.NewParent(t, nettest.Parent{})
	s.configure(fmt.Sprintf("[[upstream]]\nname = \"county\"\nurl = \"http://gate:sesame@127.0.0.1:%d\"\n[[upstream]]\nname = \"spare\"\nurl = \"http://127.0.0.1:1\"\n", parent))
	report, err := NewControl(s.Config.State.Dir).Doctor(t.Context(), doctor.Options{})
	require.NoError(t, err)
	require.Equal(t, "the parent proxy county answers, and is asked for the page", found(found(report.Checks, "www.groupcall.test:"+s.port).Parts, "connection").Says)
	require.Contains(t, found(found(report.Checks, "relay.groupcall.test:"+s.echo).Parts, "connection").Says, "county has opened a tunnel to 127.0.0.1:")
	require.Equal(t, doctor.OK, found(report.Checks, "county").State)
	require.Equal(t, doctor.Failed, found(report.Checks, "spare").State)
	require.Contains(t, found(report.Checks, "spare").Says, "parent proxy spare: unreachable: ")
	require.NotContains(t, report.String(), "sesame")
}
