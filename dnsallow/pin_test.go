package dnsallow

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

// pinboard remembers what it was told.
type pinboard struct {
	mu    sync.Mutex
	addrs []netip.Addr
	until time.Time
}

func (b *pinboard) Pin(_ context.Context, permits []policy.Permit, until time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range permits {
		b.addrs = append(b.addrs, p.Addr())
	}
	b.until = until
	return nil
}

// take is what was pinned since it was last asked.
func (b *pinboard) take() (addrs []netip.Addr, until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	addrs, b.addrs = b.addrs, nil
	return addrs, b.until
}

func TestTheFirewallIsToldBeforeTheAnswerGoes(t *testing.T) {
	board := new(pinboard)
	w := open(t, nettest.NewDNS(t, schoolZone...), schoolRules(t), func(_ *ServerConfig, d *ServerDeps) { d.Pins = board })
	ask := func(name string, qtype uint16) {
		require.NotNil(t, w.told(t, packed(t, query(name, qtype)), machine))
	}
	ask("emergeen.servicebus.windows.net.", dns.TypeA)
	addrs, until := board.take()
	require.Equal(t, []netip.Addr{netip.MustParseAddr("13.74.107.71")}, addrs, "the judged address, and not the one of another region")
	require.Equal(t, w.clock.Now().Add(9*time.Second), until)
	ask("emergeen.servicebus.windows.net.", dns.TypeAAAA)
	addrs, _ = board.take()
	require.Equal(t, []netip.Addr{netip.MustParseAddr("2603:1020:5::7")}, addrs)
	for _, refused := range []string{"west.servicebus.windows.net.", "other.servicebus.windows.net.", "blocked.groupcall.co.uk.", "mask.icloud.com."} {
		ask(refused, dns.TypeA)
		addrs, _ = board.take()
		require.Empty(t, addrs, refused)
	}
}

func TestNamesOfTheConfigurationAreJudgedBeforeTheyArePinned(t *testing.T) {
	board := new(pinboard)
	private := func(r *policy.Rule) { r.Addresses = policy.Addresses{Prefixes: policy.PrivateRanges()} }
	w, _ := schoolWith(t, func(d *ServerDeps) { d.Pins = board }, allow(t, "dc", "dc1.school.local", private), allow(t, "web", "www.school.example"))
	for name, want := range map[string][]netip.Addr{
		"dc1.school.local.":   {netip.MustParseAddr("10.0.0.10")},
		"files.school.local.": nil, // answered to everybody, but no rule names it
		"www.school.example.": nil, // its address is none that the rule permits
	} {
		w.ask(t, query(name, dns.TypeA))
		addrs, _ := board.take()
		require.Equal(t, want, addrs, name)
	}
}
