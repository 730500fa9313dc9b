package dnsallow

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
)

func TestTheOrderOfUpstreams(t *testing.T) {
	a, b, c := upstream(t, "192.0.2.1"), upstream(t, "192.0.2.2"), upstream(t, "192.0.2.3")
	all := []Upstream{a, b, c}
	start := newClock().Now()
	for what, k := range map[string]struct {
		notes func(h *health)
		later time.Duration
		want  []Upstream
	}{
		"is that of the configuration":        {func(*health) {}, 0, []Upstream{a, b, c}},
		"puts the quick in front of the slow": {func(h *health) { took(h, start, 200, 100, 10) }, 0, []Upstream{c, b, a}},
		"ignores small differences":           {func(h *health) { took(h, start, 12, 11, 10) }, 0, []Upstream{a, b, c}},
		"tries what has not been tried":       {func(h *health) { h.note(a, 50*time.Millisecond, nil, start) }, 0, []Upstream{b, c, a}},
		"forgets after a minute":              {func(h *health) { took(h, start, 200, 100, 10) }, forgetTime, []Upstream{a, b, c}},
		"puts a silent one last":              {func(h *health) { h.note(a, 0, errors.New("timeout"), start) }, 0, []Upstream{b, c, a}},
		"lets it rest for a while only":       {func(h *health) { h.note(a, 0, errors.New("timeout"), start) }, restTime, []Upstream{a, b, c}},
		"counts SERVFAIL as a sign of life": {func(h *health) {
			h.note(a, 0, errors.New("timeout"), start)
			h.note(a, 0, rcodeError{"SERVFAIL"}, start)
		}, 0, []Upstream{a, b, c}},
		"has one that let another be asked rest": {func(h *health) { h.slow(a, start) }, 0, []Upstream{b, c, a}},
	} {
		t.Run(what, func(t *testing.T) {
			var h health
			k.notes(&h)
			require.Equal(t, k.want, h.order(all, start.Add(k.later)))
		})
	}
}

// took notes how many milliseconds each of three upstreams took.
func took(h *health, at time.Time, millis ...int) {
	for i, u := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"} {
		parsed, _ := ParseUpstream(u)
		h.note(parsed, time.Duration(millis[i])*time.Millisecond, nil, at)
	}
}

func TestWhereOneIsSlowTheNextIsAskedBesides(t *testing.T) {
	t.Parallel()
	slow, quick := nettest.NewDNS(t, asked+". 300 IN A 13.74.107.71"), nettest.NewDNS(t, asked+". 300 IN A 13.74.107.71")
	release := make(chan struct{})
	slow.Handle(asked, nettest.Slow(release, slow.HonestHandler))
	defer close(release)
	r := NewResolver(ResolverConfig{
		Upstreams: []Upstream{upstream(t, slow.Addr), upstream(t, quick.Addr)}, Try: time.Hour, Total: time.Hour, Hedge: lull,
	}, ResolverDeps{})
	ask := func() (times int) { // how often the slow one has been asked
		f, err := r.lookup(context.Background(), question{asked, dns.TypeA})
		require.NoError(t, err)
		require.Len(t, f.addresses, 1)
		return slow.Asked(asked, "A")
	}
	times := ask()
	require.Positive(t, times)
	r.exchanger.hedge = time.Hour // so that the quick one may take its time
	require.Equal(t, times, ask(), "and the slow one rests")
}

func TestAPanicInAnAttemptIsThatAttemptsFailure(t *testing.T) {
	x := exchanger{try: time.Second, now: func() time.Time { panic("the clock is broken") }}
	named := upstream(t, "https://dns.quad9.net/dns-query")
	x.lines.remember(named, foundAddr{})
	r := x.attempt(context.Background(), nil, named, question{asked, dns.TypeA}, nil)
	require.ErrorContains(t, r.err, "the clock is broken")
	require.Nil(t, r.reply)
}
