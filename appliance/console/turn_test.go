package console

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
)

// weighed is a House that weighs drafts as long as a test likes.
type weighed struct {
	House
	begun chan string
	end   chan struct{}
}

func (h *weighed) Check(text []byte) Draft {
	h.begun <- string(text)
	<-h.end
	return Draft{Loadable: true}
}

func TestHeavyWorkIsDoneOneAfterTheOther(t *testing.T) {
	h := &weighed{begun: make(chan string, 9), end: make(chan struct{})}
	c := New(h, nil)
	c.turns.wait = time.Hour
	mux := http.NewServeMux()
	c.RegisterAPI(mux)
	s := httptest.NewServer(mux)
	defer s.Close()
	answers := make(chan int, 9)
	check := func(text string) {
		resp, err := http.Post(s.URL+"/api/v1/check", "application/toml", strings.NewReader(text))
		if err == nil {
			resp.Body.Close()
			answers <- resp.StatusCode
		}
	}
	go check("first")
	require.Equal(t, "first", <-h.begun)
	for range mostHeld - 1 {
		go check("later")
	}
	require.Eventually(t, func() bool { return len(c.turns.held) == mostHeld }, nettest.Patience, time.Millisecond)
	require.Empty(t, h.begun, "it is not their turn")

	busy := c.turns
	busy.wait = time.Nanosecond // there is no room, and this one does not wait for it
	w := httptest.NewRecorder()
	busy.inTurn(9, func(http.ResponseWriter, *http.Request) { t.Error("it has had a turn") })(w, httptest.NewRequest("POST", "/api/v1/check", strings.NewReader("x")))
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Contains(t, w.Body.String(), "try again in a moment")

	for range mostHeld {
		h.end <- struct{}{}
		require.Equal(t, http.StatusOK, <-answers)
	}
	require.Len(t, h.begun, mostHeld-1)
	require.Eventually(t, func() bool { return len(c.turns.held)+len(c.turns.turn) == 0 }, nettest.Patience, time.Millisecond)
}

func TestWhoHasLeftHasNoTurn(t *testing.T) {
	turns := newTurns()
	turns.turn <- struct{}{}
	gone := httptest.NewRequest("POST", "/", strings.NewReader("x"))
	ctx, leave := context.WithCancel(t.Context())
	leave()
	turns.inTurn(9, func(http.ResponseWriter, *http.Request) { t.Error("nobody waits for it") })(httptest.NewRecorder(), gone.WithContext(ctx))
	require.Empty(t, turns.held)
}

func TestABodyIsHandedOnAsItWas(t *testing.T) {
	for text, limit := range map[string]int64{"": 4, "abcd": 4, "abcde": 4} {
		newTurns().inTurn(limit, func(_ http.ResponseWriter, r *http.Request) {
			got, err := io.ReadAll(r.Body)
			require.True(t, bytes.HasPrefix([]byte(text), got))
			var long *http.MaxBytesError
			require.Equal(t, int64(len(text)) > limit, errors.As(err, &long), text)
		})(httptest.NewRecorder(), httptest.NewRequest("POST", "/", strings.NewReader(text)))
	}
}
