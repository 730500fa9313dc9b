package flow

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhoLooksOnGetsEachRecordInTurn(t *testing.T) {
	var tail Tail
	tail.Record(&Record{ID: "before"})
	v, err := tail.View()
	require.NoError(t, err)
	defer v.Close()
	tail.Record(&Record{ID: "one"})
	tail.Record(&Record{ID: "one", Repeats: 7})
	tail.Record(&Record{ID: "two"})
	list, missed, err := v.Next(t.Context())
	require.NoError(t, err)
	require.Zero(t, missed)
	require.Len(t, list, 2, "what was before, and repeats, are not told")
	require.Equal(t, "one", list[0].ID)
	require.Equal(t, "two", list[1].ID)
}

func TestWhoDoesNotReadMissesWhatDoesNotFitAndHoldsNobodyUp(t *testing.T) {
	var tail Tail
	stalled, err := tail.View()
	require.NoError(t, err)
	defer stalled.Close()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range viewerQueue {
				tail.Record(&Record{}) // would wait for ever, were there waiting
			}
		})
	}
	all.Wait()
	list, missed, err := stalled.Next(t.Context())
	require.NoError(t, err)
	require.Len(t, list, viewerQueue)
	require.Equal(t, 3*viewerQueue, missed)
	tail.Record(&Record{})
	list, missed, err = stalled.Next(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Zero(t, missed, "it is told once")
}

func TestSoManyMayLookOnAndNoMore(t *testing.T) {
	var tail Tail
	var views []*View
	for range mostViewers {
		v, err := tail.View()
		require.NoError(t, err)
		views = append(views, v)
	}
	_, err := tail.View()
	require.ErrorIs(t, err, ErrManyViewers)
	views[0].Close()
	v, err := tail.View()
	require.NoError(t, err)
	require.Equal(t, mostViewers, tail.Viewers())
	for _, v := range append(views, v) {
		v.Close() // also one that is closed already
	}
	require.Zero(t, tail.Viewers())
}

func TestTheEndReachesWhoeverLooksOn(t *testing.T) {
	var tail Tail
	v, err := tail.View()
	require.NoError(t, err)
	told := make(chan error)
	go func() {
		_, _, err := v.Next(context.Background())
		told <- err
	}()
	tail.End()
	tail.End()
	require.ErrorIs(t, <-told, ErrTailEnded)
	v.Close()
	tail.Record(&Record{})
	_, err = tail.View()
	require.ErrorIs(t, err, ErrTailEnded)
}

func TestWhoLeavesIsToldSo(t *testing.T) {
	var tail Tail
	v, err := tail.View()
	require.NoError(t, err)
	defer v.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err = v.Next(ctx)
	require.ErrorIs(t, err, context.Canceled)
}
