package doctor

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
	"gatehouse/policy"
	"gatehouse/proxy"
)

func county(t *testing.T, p nettest.Parent) []proxy.Parent {
	_, port := nettest.NewParent(t, p)
	return []proxy.Parent{{Name: "county", Host: "127.0.0.1", Port: uint16(port), User: "gate", Password: "sesame"}}
}

var known = book{"www.example.org": {"127.0.0.1"}}

func TestAPlaceIsTriedThroughTheParentThatWouldCarryIt(t *testing.T) {
	var asked atomic.Pointer[http.Request]
	port := site(t, func(http.ResponseWriter, *http.Request) {})
	s := surroundings{names: known, parents: county(t, nettest.Parent{Answer: func(r *http.Request) string { asked.Store(r); return "" }})}
	pack, _, ready := examined(t, s, rule(t, "site", "www.example.org", port, plain))
	require.True(t, ready)
	require.Equal(t, "the parent proxy county answers, and is asked for the page", step(t, pack, "connection").Says)
	require.Equal(t, "answers 200", step(t, pack, "GET").Says)
	require.Equal(t, "http://www.example.org:"+strconv.Itoa(port)+"/", asked.Load().RequestURI)
	require.Equal(t, "Basic Z2F0ZTpzZXNhbWU=", asked.Load().Header.Get("Proxy-Authorization"))

	asked.Store(nil)
	pack, _, _ = examined(t, s, rule(t, "site", "www.example.org", port, func(r *policy.Rule) { plain(r); r.Parent = "direct" }))
	require.Contains(t, step(t, pack, "connection").Says, "127.0.0.1:"+strconv.Itoa(port)+" answers")
	require.Nil(t, asked.Load(), "the rule goes past the parent")
}

func TestTLSIsTriedThroughATunnelOfTheParent(t *testing.T) {
	good := nettest.NewAuthority(t, "A good authority")
	o := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	o.TLS = &tls.Config{Certificates: []tls.Certificate{good.Sign(t, nil, "www.example.org")}}
	o.StartTLS()
	t.Cleanup(o.Close)
	port, _ := strconv.Atoi(strings.TrimPrefix(o.Listener.Addr().String(), "127.0.0.1:"))
	pack, _, _ := examined(t, surroundings{names: known, roots: good.Roots, now: time.Now(), parents: county(t, nettest.Parent{})},
		rule(t, "site", "www.example.org", port, secure))
	require.Equal(t, "the parent proxy county has opened a tunnel to 127.0.0.1:"+strconv.Itoa(port), step(t, pack, "connection").Says)
	require.Contains(t, step(t, pack, "certificate").Says, "A good authority")
}

func TestAParentThatDoesNotOpenATunnelIsNamedWithWhatToDo(t *testing.T) {
	for _, c := range []struct{ answer, says, fix string }{
		{"407 Proxy Authentication Required", "the parent proxy county answers 407: it wants a login", "user and password"},
		{"501 Not Implemented", "the parent proxy county answers 501", "older than HTTP/1.1"},
		{"403 Forbidden", "the parent proxy county answers 403: it refuses this destination", `connect = "name"`},
	} {
		t.Run(c.answer, func(t *testing.T) {
			parents := county(t, nettest.Parent{Answer: func(*http.Request) string { return "HTTP/1.1 " + c.answer + "\r\nContent-Length: 0\r\n\r\n" }})
			pack, _, ready := examined(t, surroundings{names: known, parents: parents}, rule(t, "bus", "www.example.org", 5671, nil))
			require.False(t, ready)
			require.Equal(t, Failed, step(t, pack, "connection").State)
			require.Contains(t, step(t, pack, "connection").Says, c.says)
			require.Contains(t, step(t, pack, "connection").Fix, c.fix)
			require.Equal(t, NotTried, step(t, pack, "certificate").State)
		})
	}
}

func TestAParentThatCannotTakeARequestIsToldApartFromThePlaceBehind(t *testing.T) {
	refuses := func(status, when string) nettest.Parent {
		return nettest.Parent{Answer: func(r *http.Request) string {
			if when == "chunked" && len(r.TransferEncoding) == 0 || when == "expect" && r.Header.Get("Expect") == "" {
				return ""
			}
			return "HTTP/1.1 " + status + "\r\nContent-Length: 0\r\n\r\n"
		}}
	}
	well := func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }
	for _, c := range []struct {
		name   string
		parent nettest.Parent
		origin http.HandlerFunc
		step   string
		state  State
		says   string
	}{
		{"407 is always the parent's", refuses("407 Proxy Authentication Required", ""), well, "GET", Failed, "the parent proxy county answers 407"},
		{"a parent without chunks", refuses("411 Length Required", "chunked"), well, "POST in chunks", Failed, "the parent proxy county answers 411: it takes no upload whose length is not known in advance; past it the place answers 200"},
		{"a parent that does not know 100-continue", refuses("417 Expectation Failed", "expect"), well, "100-continue", Failed, "the parent proxy county answers 417"},
		{"a parent that does not reach it", refuses("503 Service Unavailable", ""), well, "GET", Failed, "it could not reach the destination; past it the place answers 200"},
		{"a place without chunks", nettest.Parent{}, func(w http.ResponseWriter, r *http.Request) {
			if len(r.TransferEncoding) > 0 {
				w.WriteHeader(http.StatusLengthRequired)
			}
		}, "POST in chunks", Failed, "answers 411, also past the parent proxy"},
		{"a place that refuses the page is no fault of anybody's", nettest.Parent{}, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }, "GET", OK, "answers 403"},
	} {
		t.Run(c.name, func(t *testing.T) {
			port := site(t, c.origin)
			pack, _, _ := examined(t, surroundings{names: known, parents: county(t, c.parent), o: Options{Active: true}, after: hasty},
				rule(t, "site", "www.example.org", port, plain))
			require.Equal(t, c.state, step(t, pack, c.step).State, step(t, pack, c.step).Says)
			require.Contains(t, step(t, pack, c.step).Says, c.says)
		})
	}
}

func TestWhereOnlyTheParentIsLetOutItIsNotBlamedForSure(t *testing.T) {
	parents := county(t, nettest.Parent{Answer: func(*http.Request) string { return "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n" }})
	pack, _, _ := examined(t, surroundings{names: known, parents: parents}, rule(t, "site", "www.example.org", nettest.Deaf(t), plain))
	require.Equal(t, Warning, step(t, pack, "GET").State)
	require.Equal(t, "answers 502: if it is not the place itself that says so, the parent proxy county answers 502: it could not reach the destination", step(t, pack, "GET").Says)
}

// early answers while the request is open.
func early(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusNotFound)
	w.(http.Flusher).Flush()
}

func TestAnAnswerWhileTheRequestIsOpenShowsThatNothingGathers(t *testing.T) {
	for _, through := range []bool{false, true} {
		s := surroundings{names: known, o: Options{Active: true}, after: patient}
		said := ""
		if through {
			s.parents, said = county(t, nettest.Parent{}), "through the parent proxy county, "
		}
		pack, _, ready := examined(t, s, rule(t, "site", "www.example.org", site(t, early), plain))
		require.True(t, ready)
		require.Equal(t, said+"answers 404 while the request is open, after 0 ms: nothing on the way gathers requests", step(t, pack, "POST in chunks").Says)
		require.Equal(t, said+"answers 404 in place of 100, after 0 ms", step(t, pack, "100-continue").Says)
	}
}

func TestA100IsToldOf(t *testing.T) {
	port := site(t, func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }) // which has the server say 100
	var calls atomic.Int32
	after := func(wait time.Duration, f func()) func() bool {
		if calls.Add(1) == 1 { // without Expect nothing comes before the end
			return hasty(wait, f)
		}
		return patient(wait, f)
	}
	pack, _, _ := examined(t, surroundings{names: known, o: Options{Active: true}, after: after}, rule(t, "site", "www.example.org", port, plain))
	require.Equal(t, "100 after 0 ms, then answers 200", step(t, pack, "100-continue").Says)
}

func TestTheParentThatBuffersIsNamed(t *testing.T) {
	holding := make(chan struct{}, 8)
	parents := county(t, nettest.Parent{Buffers: true, Holding: func() { holding <- struct{}{} }})
	var calls atomic.Int32
	after := func(_ time.Duration, f func()) func() bool {
		if calls.Add(1)%2 == 0 { // past the parent
			return func() bool { return true }
		}
		go func() { <-holding; f() }()
		return func() bool { return false } // the parent holds the request: time is up
	}
	pack, _, ready := examined(t, surroundings{names: known, parents: parents, o: Options{Active: true}, after: after},
		rule(t, "site", "www.example.org", site(t, early), plain))
	require.False(t, ready)
	require.Equal(t, int32(4), calls.Load())
	for _, name := range []string{"POST in chunks", "100-continue"} {
		require.Equal(t, Failed, step(t, pack, name).State)
		require.Equal(t, "the parent proxy county buffers: nothing came through it while the request was open (0 ms); past it an answer comes after 0 ms", step(t, pack, name).Says)
		require.Contains(t, step(t, pack, name).Fix, `parent = "direct"`)
	}
}

func TestAPlaceThatAnswersWholeRequestsOnlyTellsNothingOfTheParent(t *testing.T) {
	port := site(t, func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
	s := surroundings{names: known, parents: county(t, nettest.Parent{}), o: Options{Active: true}, after: hasty}
	pack, _, ready := examined(t, s, rule(t, "site", "www.example.org", port, plain))
	require.True(t, ready)
	require.Equal(t, "through the parent proxy county, answers 200 once the request is whole; whether a hop gathers requests cannot be told from such a place; past it, it is the same",
		step(t, pack, "POST in chunks").Says)
}
