package main

import (
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func serving(t *testing.T) netip.AddrPort {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has all of 127.0.0.0/8")
	}
	up, err := newUpstream()
	require.NoError(t, err)
	t.Cleanup(up.close)
	return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(up.port()))
}

func TestEachClientAsksWhatItHasTo(t *testing.T) {
	s := scenario{ask: uncached, want: noError, window: clients, each: 20}
	answered, lost, err := put(serving(t), s, time.Minute)
	require.NoError(t, err)
	require.Equal(t, clients*20, answered+lost)
	require.NotZero(t, answered)
}

func TestAnAnswerThatIsNotWantedEndsTheRun(t *testing.T) {
	s := scenario{ask: always(plainName), want: 5, window: 1}
	_, _, err := put(serving(t), s, time.Minute)
	require.ErrorContains(t, err, plainName+": response code 0")
}

func TestTheUpstreamFollowsTheChainOfTheNamespace(t *testing.T) {
	reply := answer(question(nil, 7, strings.ToUpper(busName)))
	require.EqualValues(t, 3, reply[7], "two aliases and an address")
	require.Equal(t, []byte{13, 74, 107, 71}, reply[len(reply)-4:])
}

func TestASiteHasAsManyNamesAsItSays(t *testing.T) {
	for _, n := range []int{few, 100_000} {
		require.Len(t, site{n}.permitted(), n)
	}
}

func TestRatiosAreTakenWithinARound(t *testing.T) {
	b := bench{shown: []string{"gatehouse", "unbound"}, found: map[string]map[string][]float64{
		"row": {"gatehouse": {1, 10, 2}, "unbound": {2, 20, 4}},
	}}
	require.InDelta(t, 2, b.compared(row{title: "row"}, "unbound"), 1e-9)
}
