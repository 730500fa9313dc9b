package flow

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPagesOfTheCatalogueGiveEachLineOnce(t *testing.T) {
	t.Parallel()
	l := &shelved{path: filepath.Join(t.TempDir(), "decisions.log")}
	l.append(t, l.lines(drawerLines+500)) // more than a drawer
	c := NewCatalogue(l.path, 1<<30)
	for _, f := range filters {
		want, err := c.Newest(t.Context(), f, 1<<30, nil)
		require.NoError(t, err)
		got, err := c.Newest(t.Context(), f, 700, nil)
		require.NoError(t, err)
		for page := got; len(page) == 700; got = append(got, page...) {
			l.append(t, l.lines(3)) // which belong to no page behind the first
			page, err = c.Older(t.Context(), f, 700, CursorAt(page[699]), nil)
			require.NoError(t, err)
		}
		require.Len(t, got, len(want), "%+v", f)
		for i := range want {
			require.Equal(t, want[i].ID, got[i].ID, "%+v: line %d", f, i)
		}
	}
	_, err := c.Older(t.Context(), Filter{}, 1, Cursor{ID: "GH-NOWHERE1"}, nil)
	require.ErrorIs(t, err, ErrNoPlace)
}

func TestAPassageThatWasToldOfTwiceIsTwoPlaces(t *testing.T) {
	t.Parallel()
	list := make([]*Record, 4) // the newest first
	for i := range list {
		list[i] = counted(i)
	}
	end, open := *list[0], *list[0]
	open.Open = true
	list[0], list[2] = &end, &open
	l := &shelved{path: filepath.Join(t.TempDir(), "decisions.log")}
	for i := range list {
		l.append(t, JSON(nil, list[len(list)-1-i]))
	}
	c := NewCatalogue(l.path, 1<<30)
	for i, r := range list[:3] {
		at := ParseCursor(CursorAt(r).String())
		newer, ok := at.In(list)
		require.True(t, ok)
		require.Equal(t, i+1, newer)
		older, err := c.Older(t.Context(), Filter{}, 9, at, nil)
		require.NoError(t, err)
		require.Len(t, older, len(list)-i-1)
		require.Equal(t, list[i+1].ID, older[0].ID)
	}
}
