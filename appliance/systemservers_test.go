//go:build linux

package appliance

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/dnsallow"
	"gatehouse/metrics"
)

// leased is an appliance that asks the servers of a file, as far as it is about that.
type leased struct {
	*Appliance
	said locked
}

func newLeased(t *testing.T, path string) *leased {
	l := &leased{}
	l.Appliance = &Appliance{tally: metrics.New(metrics.Config{}), system: newSystemServers(path)}
	l.Log = slog.New(slog.NewTextHandler(&l.said, nil))
	list, _ := l.system.read()
	l.resolver = dnsallow.NewResolver(dnsallow.ResolverConfig{Upstreams: list}, dnsallow.ResolverDeps{})
	t.Cleanup(l.resolver.Close)
	return l
}

// asks are the servers that questions go to.
func (l *leased) asks() (list []string) {
	for _, s := range l.resolver.Standings() {
		list = append(list, s.Upstream)
	}
	return list
}

func (l *leased) counts(t *testing.T, taken, ignored string) {
	t.Helper()
	w := httptest.NewRecorder()
	l.tally.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Contains(t, w.Body.String(), `gatehouse_dns_system_servers_changes_total{result="ignored"} `+ignored+"\n")
	require.Contains(t, w.Body.String(), `gatehouse_dns_system_servers_changes_total{result="taken"} `+taken+"\n")
}

func TestServersThatTheSystemNamesLateAreAsked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	l := newLeased(t, path)
	require.Empty(t, l.asks())
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { l.serversWatcher().run(ctx) })
	defer done.Wait()
	defer cancel()
	write(t, path, "nameserver 192.0.2.53\n")
	require.Eventually(t, func() bool { return len(l.asks()) == 1 }, time.Minute, 20*time.Millisecond)
	require.Equal(t, []string{"192.0.2.53"}, l.asks())
	write(t, path, "search school.example\nnameserver 192.0.2.54\nnameserver 2001:db8::53\n")
	require.Eventually(t, func() bool { return len(l.asks()) == 2 }, time.Minute, 20*time.Millisecond)
	require.Equal(t, []string{"192.0.2.54", "2001:db8::53"}, l.asks())
	cancel()
	done.Wait()
	l.counts(t, "2", "0")
	require.Contains(t, l.said.String(), `msg="the system names other DNS servers; they are asked from now on" servers="[192.0.2.54 2001:db8::53]" before=[192.0.2.53]`)
}

func TestWhereTheSystemNamesNoServerThoseBeforeAreAsked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	write(t, path, "nameserver 192.0.2.53\n")
	l := newLeased(t, path)
	write(t, path, "# no lease\n")
	l.serversChanged()
	require.Equal(t, []string{"192.0.2.53"}, l.asks())
	require.Contains(t, l.said.String(), `msg="the system names no DNS server; those before are asked" servers=[192.0.2.53]`)
	l.counts(t, "0", "1")
	write(t, path, "# a new lease\nnameserver 192.0.2.53\n")
	l.serversChanged()
	l.counts(t, "0", "1")
	write(t, path, "nameserver 192.0.2.54\n")
	l.serversChanged()
	require.Equal(t, []string{"192.0.2.54"}, l.asks())
	l.counts(t, "1", "1")
}
