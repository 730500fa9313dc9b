package appliance

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/appliance/alarm"
	"gatehouse/internal/flow"
	"gatehouse/policy"
)

// alarmed is an appliance of which only the alarms run, and the webhook they go to.
type alarmed struct {
	t      *testing.T
	config *Config
	said   *locked
	now    time.Time
	mu     sync.Mutex
	got    []string
}

func newAlarmed(t *testing.T) *alarmed {
	s := &alarmed{t: t, said: &locked{}, now: time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)}
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var m alarm.Message
		if json.NewDecoder(r.Body).Decode(&m) != nil {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, e := range m.Events {
			s.got = append(s.got, fmt.Sprint(e.Phase, " ", e.Kind, " ", e.Subject))
		}
	}))
	t.Cleanup(hook.Close)
	config, problems := ParseConfig(filepath.Join(t.TempDir(), "gatehouse.toml"),
		fmt.Appendf(nil, "[addresses]\ntreat_as_public = \"127.0.0.0/8\"\n[alarm]\nwebhook = %q\n[state]\ndir = \"state\"\n", hook.URL))
	require.Empty(t, problems)
	s.config = config
	return s
}

// during starts an appliance from what is on the disk, lets things happen to it, and
// looks once at each of the moments. It gives what was told.
func (s *alarmed) during(happens func(*Appliance), moments ...time.Duration) (told []string) {
	s.t.Helper()
	var ahead atomic.Int64
	a := New(Options{Config: s.config, Log: newTestLogger(s.said), Now: func() time.Time { return s.now.Add(time.Duration(ahead.Load())) }})
	defer a.resolver.Close()
	a.doors = &listeners{}
	a.rulebook.start()
	a.recallAlarms()
	happens(a)
	for _, d := range moments {
		ahead.Store(int64(d))
		tick, looked := make(chan time.Time), make(chan struct{})
		ctx, cancel := context.WithCancel(s.t.Context())
		go func() { defer close(looked); a.ringAlarms(ctx, tick) }()
		tick <- a.Now()
		tick <- a.Now() // it has looked, and looks again at the same moment: nothing is new
		cancel()
		<-looked
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	told, s.got = s.got, nil
	return told
}

func nothing(*Appliance) {}

func TestAlarmsOutliveARestart(t *testing.T) {
	t.Parallel()
	s := newAlarmed(t)
	refusal := func(a *Appliance) {
		a.troubles.Record(&flow.Record{ID: "GH-1", Time: s.now, Host: "www.example.org", Port: 22, Surface: policy.CONNECT,
			Verdict: policy.Verdict{Reason: policy.PortNotListed, Rule: &policy.Rule{Name: "xporter/updates", Pack: "xporter"}}})
		a.troubles.packTried("heartbeat", false)
	}
	require.Subset(t, s.during(refusal, time.Minute), []string{"begun agent-refused xporter/updates", "begun pack-not-ready heartbeat"})
	require.Empty(t, s.during(nothing, 2*time.Minute, 50*time.Minute), "it is neither told again, nor called over")
	require.Equal(t, []string{"over agent-refused xporter/updates"}, s.during(nothing, 61*time.Minute, 66*time.Minute), "an hour after the last refusal")
	require.Equal(t, []string{"over pack-not-ready heartbeat"}, s.during(func(a *Appliance) { a.troubles.packTried("heartbeat", true) }, 67*time.Minute, 73*time.Minute, 90*time.Minute))
}

func TestAFileOfAlarmsThatIsTornCostsARepetition(t *testing.T) {
	t.Parallel()
	s := newAlarmed(t)
	first := s.during(nothing, 0)
	require.NotEmpty(t, first, "the built-in list of Azure's addresses is old")
	require.Empty(t, s.during(nothing, time.Minute))
	file := filepath.Join(s.config.State.Dir, alarmFile)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	for _, torn := range []string{"", "{}", string(text[:len(text)/2]), "null", `{"bell":{"told":null},"happened":null}`} {
		write(t, file, torn)
		require.Equal(t, first, s.during(nothing, 2*time.Minute), "after %q", torn)
	}
	require.Contains(t, s.said.String(), "cannot be read; some may be told again")
	require.NoError(t, os.Remove(file))
	require.NoError(t, os.MkdirAll(file, 0o700)) // nothing can be put there
	require.Equal(t, first, s.during(nothing, 0, time.Minute))
	require.Contains(t, s.said.String(), "cannot be kept; after a restart")
}
