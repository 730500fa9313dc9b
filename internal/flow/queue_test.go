package flow

import (
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAQueueKeepsItsOrderAroundItsEndAndHoldsNoMoreThanItsSize(t *testing.T) {
	q := newQueue(5)
	var into [3]*Record
	for next, taken := 0, 0; next < 40; {
		for range 4 {
			if q.waiting() < 5 {
				require.True(t, q.put(numbered(next)))
				next++
			} else {
				require.False(t, q.put(numbered(-1)), "there is no place")
			}
		}
		for _, r := range into[:q.take(into[:])] {
			require.Equal(t, numbered(taken).ID, r.ID)
			taken++
		}
	}
	for q.take(into[:]) > 0 {
	}
	for _, r := range q.ring {
		require.Nil(t, r, "what was taken is held no longer")
	}
}

func TestAQueueLosesNothingBetweenManyWhoBringAndOneWhoTakes(t *testing.T) {
	const brought, each = 8, 500
	q := newQueue(64)
	var bring sync.WaitGroup
	for range brought {
		bring.Go(func() {
			for i := range each {
				for !q.put(numbered(i)) {
					runtime.Gosched() // full
				}
			}
		})
	}
	seen := map[string]int{}
	var into [16]*Record
	for n := 0; n < brought*each; {
		<-q.come // each put where none waits rings, so this ends
		for got := q.take(into[:]); got > 0; got = q.take(into[:]) {
			for _, r := range into[:got] {
				seen[r.ID]++
			}
			n += got
		}
	}
	bring.Wait()
	require.Len(t, seen, each)
	for id, times := range seen {
		require.Equal(t, brought, times, id)
	}
}
