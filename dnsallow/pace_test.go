package dnsallow

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPaceGivesEachKeyItsLimitAndRefillsItEvenly(t *testing.T) {
	p, clock := pace[int]{limit: 4, window: time.Second}, newClock()
	took := func(key, times int) (n int) {
		for range times {
			if p.take(key, clock.Now()) {
				n++
			}
		}
		return n
	}
	require.Equal(t, 4, took(1, 10))
	require.Equal(t, 4, took(2, 10), "one key does not cost another")
	clock.Advance(500 * time.Millisecond)
	require.Equal(t, 2, took(1, 10))
	clock.Advance(time.Hour)
	require.Equal(t, 4, took(1, 10), "more than the limit is never saved up")
	clock.Advance(-time.Hour)
	require.Equal(t, 0, took(1, 10), "a clock that steps back gives nothing")
}

func TestAPaceNobodySetLetsNothingHappen(t *testing.T) {
	require.False(t, new(pace[int]).take(1, newClock().Now()))
}

func TestManyKeysShareWhatIsLeftAndTakeNoMoreMemory(t *testing.T) {
	p, clock := pace[int]{limit: 2, window: time.Second}, newClock()
	for key := range maxBuckets {
		require.True(t, p.take(key+1, clock.Now()))
	}
	n := 0
	for key := range 100 {
		if p.take(1_000_000+key, clock.Now()) {
			n++
		}
	}
	require.Equal(t, 2, n)
	require.LessOrEqual(t, len(p.buckets), maxBuckets+1)
	clock.Advance(time.Second)
	require.True(t, p.take(2_000_000, clock.Now()))
	require.Len(t, p.buckets, 1, "those that are full again are forgotten")
}
