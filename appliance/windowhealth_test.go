package appliance

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/appliance/console"
	"gatehouse/internal/nettest"
)

// finding is the one called name, at whatever depth.
func finding(list []console.Finding, name string) *console.Finding {
	for i, f := range list {
		if f.Name == name {
			return &list[i]
		}
		if below := finding(f.Parts, name); below != nil {
			return below
		}
	}
	return nil
}

func TestThePageHealthTellsHowEachPartDoes(t *testing.T) {
	t.Parallel()
	s := newSite(t, publishText)
	var h console.Health
	s.json("/api/v1/health", &h)
	require.Equal(t, "test", h.Version)
	require.Nil(t, h.Doctor, "nobody has asked the doctor")
	for name, state := range map[string]string{
		"gate": "ok", "disk": "ok", "open descriptors": "ok", "decision log": "ok", "Azure addresses": "failed", s.dns.Addr: "ok", "publish emerge at 127.0.0.1:0": "ok",
	} {
		f := finding(h.Findings, name)
		require.NotNil(t, f, name)
		require.Equal(t, state, f.State, "%+v", f)
	}
	require.NotNil(t, finding(h.Findings, "clock"))
	require.Equal(t, "goes to standard output", finding(h.Findings, "decision log").Says)

	status, body := s.post("/health", nil)
	require.Equal(t, 200, status)
	require.Contains(t, body, "Last run at")
	s.json("/api/v1/health", &h)
	require.Equal(t, "failed", h.Doctor.State, "Azure's addresses are old")
	_, body = s.admin("GET", "/health")
	require.Contains(t, body, "Last run at", "it is still there")
	require.Contains(t, body, "checks are well")
}

func TestADecisionLogThatCannotBeWrittenIsTold(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	s.configure("[log]\ndecisions = \"/dev/full\"\n")
	s.get("/update.inf")
	require.Eventually(t, func() bool { return finding(window{s.Appliance}.Health().Findings, "decision log").State == "failed" }, nettest.Patience, 10*time.Millisecond)
}
