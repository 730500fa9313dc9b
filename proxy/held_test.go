package proxy

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
	"gatehouse/policy"
	"gatehouse/proxy/parent"
)

// held is a gate behind one parent, on a clock that the test moves.
type held struct {
	*gate
	up    *nettest.Origin
	clock atomic.Int64
	told  chan *parent.Fault
}

func newHeld(t *testing.T) *held {
	h := &held{up: nettest.NewOrigin(t), told: make(chan *parent.Fault, 16)}
	h.clock.Store(time.Now().UnixNano())
	o := parents(through("county", h.up.Port))
	o.deps.ParentFault = func(f *parent.Fault) { h.told <- f }
	o.deps.Now = func() time.Time { return time.Unix(0, h.clock.Load()) }
	h.gate = newGate(t, o, allow("bus.example.org", 80))
	return h
}

const (
	postStream = "POST http://bus.example.org/up HTTP/1.1\r\nHost: bus.example.org\r\nX-WSCONNECT: connection\r\nTransfer-Encoding: chunked\r\n\r\n"
	getStream  = "GET http://bus.example.org/down HTTP/1.1\r\nHost: bus.example.org\r\nX-WSCONNECT: connection\r\n\r\n"
	endless    = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
)

// step is what happens in an exchange; it ends when the client gives up.
type step func(h *held, client, parent *nettest.Peer)

func posts(content string) step {
	return func(_ *held, c, s *nettest.Peer) { c.Chunk(content); s.ExpectChunk(content) }
}

func hears(answer string) step {
	return func(_ *held, c, s *nettest.Peer) { s.Say("%s", answer); c.Expect("HTTP/1.1 200 OK\r\n") }
}

// hearsPart: a part of an answer that does not end comes.
func hearsPart(h *held, c, s *nettest.Peer) {
	hears(endless+"1\r\nx\r\n")(h, c, s)
	c.Head() // after the status line
	c.ExpectChunk("x")
}

func passes(d time.Duration) step {
	return func(h *held, _, _ *nettest.Peer) { h.clock.Add(int64(d)) }
}

// exchange is one request through the gate and its parent, until the client gives up.
func (h *held) exchange(request string, steps ...step) (detail string) {
	h.t.Helper()
	c := h.dial().Say("%s", request)
	s := h.up.Take(h.t)
	s.Head()
	for _, f := range steps {
		f(h, c, s)
	}
	c.Close()
	r := h.record()
	require.Equal(h.t, "client-closed", r.End)
	require.Equal(h.t, policy.Matched, r.Verdict.Reason)
	return r.Detail
}

func TestAParentThatHoldsStreamsBackIsNamed(t *testing.T) {
	const half = 30 * time.Second // the library's patience
	probe := "\x01\x02\x03\x04"
	for _, test := range []struct {
		name    string
		request string
		steps   []step
	}{
		{"it waits for a request that does not end", postStream, []step{posts(probe), passes(half)}},
		{"not a chunk has come", postStream, []step{passes(half)}},
		{"whose half is none of Service Bus'", strings.Replace(postStream, "X-WSCONNECT: connection\r\n", "", 1), []step{posts(probe), passes(half)}},
		{"it waits with the head of an answer that does not end", getStream, []step{passes(half)}},
		{"it waits with the first octets", getStream, []step{hears(endless), passes(half)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHeld(t)
			detail := h.exchange(test.request, test.steps...)
			require.Contains(t, detail, "The parent proxy county let nothing through of a stream until the client gave up")
			require.Contains(t, detail, `parent = "direct"`)
			require.Len(t, h.told, 1)
			f := <-h.told
			require.Equal(t, parent.Buffering, f.Cause)
			require.ErrorContains(t, f, "nothing came through for 30s")
			next, _ := h.get("bus.example.org", 80, "/"), h.up.Take(t)
			next.Close() // it is asked again as if nothing had been: nothing is sure
			require.Equal(t, "county", h.record().Parent)
		})
	}
}

func TestAParentIsNotAccusedOfHoldingStreamsBack(t *testing.T) {
	const half = 30 * time.Second
	whole := "POST http://bus.example.org/ HTTP/1.1\r\nHost: bus.example.org\r\nContent-Length: 9\r\n\r\n1234"
	for _, test := range []struct {
		name    string
		request string
		steps   []step
	}{
		{"by a client that gives up sooner than one that waits", postStream, []step{posts("x"), passes(9 * time.Second)}},
		{"by what lasted so long that it must have worked", postStream, []step{posts("x"), passes(time.Hour)}},
		{"by a transfer that was broken off", postStream, []step{posts(strings.Repeat("x", heldTalk+1)), passes(half)}},
		{"by an upload of a known length", whole, []step{passes(half)}},
		{"by a slow answer to an ordinary request", "GET http://bus.example.org/ HTTP/1.1\r\nHost: bus.example.org\r\n\r\n", []step{passes(half)}},
		{"where the answer came before the request had ended", postStream, []step{posts("x"), hears(endless), passes(half)}},
		{"where a part of an endless answer came", getStream, []step{hearsPart, passes(half)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHeld(t)
			require.Empty(t, h.exchange(test.request, test.steps...))
			require.Empty(t, h.told)
		})
	}
}

func TestAParentThatWasSeenToLetStreamsThroughIsNotAccused(t *testing.T) {
	for _, test := range []struct{ name, request string }{{"requests", postStream}, {"answers", getStream}} {
		t.Run(test.name, func(t *testing.T) {
			h := newHeld(t)
			h.exchange(test.request, hearsPart)
			passes(59*time.Minute)(h, nil, nil)
			require.Empty(t, h.exchange(test.request, passes(30*time.Second)), "the destination has kept silent")
			passes(time.Hour)(h, nil, nil)
			require.NotEmpty(t, h.exchange(test.request, passes(30*time.Second)), "what was seen long ago says nothing of now")
		})
	}
}

// TestWhatAParentHoldsBackIsSeen asks a parent that really collects what it gets, with
// a relay behind it that waits for the other half.
func TestWhatAParentHoldsBackIsSeen(t *testing.T) {
	for _, test := range []struct {
		name    string
		parent  nettest.Parent
		accused bool
	}{
		{"requests", nettest.Parent{Buffers: true}, true},
		{"answers", nettest.Parent{Collects: true}, true},
		{"nothing", nettest.Parent{}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			relay := nettest.NewServiceBus(t, "bus.example.org")
			p, asked := test.parent, make(chan struct{}, 16)
			p.Answer = func(*http.Request) string { asked <- struct{}{}; return "" }
			_, port := nettest.NewParent(t, p)
			var clock atomic.Int64
			clock.Store(time.Now().UnixNano())
			o := parents(through("county", port))
			o.deps.Now = func() time.Time { return time.Unix(0, clock.Load()) }
			g := newGate(t, o, allow("bus.example.org", relay.Port, plainHTTP))

			site := fmt.Sprintf("bus.example.org:%d", relay.Port)
			asks := func(line, head string) *nettest.Peer {
				return g.dial().Say("%s HTTP/1.1\r\nHost: %s\r\n%s\r\n", line, site, head)
			}
			res, _ := asks("POST http://"+site+"/", "X-WSCREATE: connection\r\nContent-Length: 0\r\n").Response("POST")
			require.Equal(t, 201, res.StatusCode)
			g.record()
			down := asks("GET "+res.Header.Get("X-Wsendpt1"), "X-WSCONNECT: connection\r\n")
			up := asks("POST "+res.Header.Get("X-Wsendpt2"), "X-WSCONNECT: connection\r\nTransfer-Encoding: chunked\r\n").Chunk("\x01\x02\x03\x04")
			if !test.accused {
				down.Head()
				for range 2 { // the second comes when the first has been noted
					down.ExpectChunk("\x01\x02\x03\x04")
					up.Chunk("\x01\x02\x03\x04")
				}
			}
			for range 3 { // the parent has both halves, and what came before them
				select {
				case <-asked:
				case <-time.After(nettest.Patience):
					t.Fatal("the parent was not asked")
				}
			}
			clock.Add(int64(30 * time.Second))
			down.Close()
			up.Close()
			said := g.record().Detail + g.record().Detail
			require.Equal(t, test.accused, strings.Contains(said, "let nothing through of a stream"), said)
		})
	}
}
