package dnsallow

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTheStandingOfAnUpstreamIsWhatItDidLately(t *testing.T) {
	quick, err := ParseUpstream("192.0.2.1")
	require.NoError(t, err)
	silent, err := ParseUpstream("192.0.2.2")
	require.NoError(t, err)
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	r := NewResolver(ResolverConfig{Upstreams: []Upstream{quick, silent}}, ResolverDeps{Now: func() time.Time { return now }})
	defer r.Close()
	r.exchanger.health.note(quick, 20*time.Millisecond, nil, now)
	r.exchanger.health.note(silent, 0, errors.New("no answer"), now)
	require.Equal(t, []Standing{{Upstream: quick.String(), Took: 20 * time.Millisecond}, {Upstream: silent.String(), Rests: true}}, r.Standings())
	now = now.Add(forgetTime)
	require.Equal(t, []Standing{{Upstream: quick.String()}, {Upstream: silent.String()}}, r.Standings(), "it is not held against it for ever")
}

func TestOtherUpstreamsAreAskedFromNowOn(t *testing.T) {
	before, err := ParseUpstream("192.0.2.1")
	require.NoError(t, err)
	now, err := ParseUpstream("192.0.2.2")
	require.NoError(t, err)
	r := NewResolver(ResolverConfig{Upstreams: []Upstream{before}, CacheBytes: 1 << 20}, ResolverDeps{})
	defer r.Close()
	r.SetUpstreams([]Upstream{now})
	require.Equal(t, []Upstream{now}, r.servers("www.example.org"))
	u, ok := r.byPost(question{name: "www.example.org", qtype: 1})
	require.True(t, ok)
	require.Equal(t, now, u)
	require.Equal(t, []Standing{{Upstream: "192.0.2.2"}}, r.Standings())
	r.SetUpstreams(nil)
	_, err = r.exchanger.goOn(t.Context(), r.servers("www.example.org"), question{name: "www.example.org", qtype: 1}, &letter{upstream: now})
	require.ErrorIs(t, err, errNoUpstream, "what was posted to one that is asked no more is no answer")
}
