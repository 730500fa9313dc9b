package console

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
)

// watched is a House of which somebody sees the decisions; nothing else of it is
// asked for.
type watched struct {
	House
	asked  chan Filter
	after  chan string
	pieces chan piece
	closed chan struct{}
	full   error
}

// piece is what Next gives.
type piece struct {
	list   []Decision
	missed int
	err    error
}

func (h *watched) Follow(f Filter, after string) (Follower, error) {
	if h.full != nil {
		return nil, h.full
	}
	h.asked <- f
	h.after <- after
	return h, nil
}

func (h *watched) Next(ctx context.Context) ([]Decision, int, error) {
	select {
	case p := <-h.pieces:
		return p.list, p.missed, p.err
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
}

func (h *watched) Close() { h.closed <- struct{}{} }

// watch serves a console's live view, and opens one by a raw request.
func watch(t *testing.T, h *watched, stallsAfter time.Duration, target, fields string) (net.Conn, *bufio.Reader) {
	t.Helper()
	h.asked, h.after, h.closed = make(chan Filter, 1), make(chan string, 1), make(chan struct{}, 1)
	c := New(h, slog.New(slog.DiscardHandler))
	c.stall = stallsAfter
	mux := http.NewServeMux()
	c.Register(mux)
	s := httptest.NewUnstartedServer(mux)
	s.Config.ReadTimeout, s.Config.WriteTimeout = time.Minute, time.Minute
	s.Start()
	t.Cleanup(s.Close)
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(nettest.Patience)))
	require.NoError(t, conn.(*net.TCPConn).SetReadBuffer(4096))
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", target, s.Listener.Addr(), fields)
	return conn, bufio.NewReaderSize(conn, 16)
}

// until reads the lines of an answer up to the one that begins so, and gives it.
func until(t *testing.T, in *bufio.Reader, begins string) string {
	t.Helper()
	for {
		line, err := in.ReadString('\n')
		require.NoError(t, err, "before %q came", begins)
		if strings.HasPrefix(line, begins) {
			return strings.TrimRight(line, "\r\n")
		}
	}
}

func TestALiveViewGetsDecisionsAsTheyAreMade(t *testing.T) {
	h := &watched{pieces: make(chan piece)}
	conn, in := watch(t, h, nettest.Patience, "/decisions/live?verdict=denied&host=evil&after=GH-OLD", "Last-Event-ID: GH-NEWER\r\n")
	require.Equal(t, "HTTP/1.1 200 OK", until(t, in, "HTTP/1.1"))
	require.Equal(t, "Content-Type: text/event-stream", until(t, in, "Content-Type"))
	until(t, in, "retry: ")
	require.Equal(t, Filter{Verdict: "denied", Host: "evil"}, <-h.asked)
	require.Equal(t, "GH-NEWER", <-h.after, "a browser that comes back says what it has seen")

	refused := Decision{ID: "GH-ONE", Client: "10.20.0.5", Passage: "GET http://evil.example/<b>", Verdict: "denied", Reason: "host-not-listed", Why: "no rule names this host",
		Permit: &Permit{Says: "a rule of your own", Text: "[[allow]]\nname = \"evil\""}}
	h.pieces <- piece{list: []Decision{refused}}
	require.Equal(t, "event: decision", until(t, in, "event: "))
	require.Equal(t, "id: GH-ONE", until(t, in, "id: "))
	require.Equal(t, "data: <tr>", until(t, in, "data: "))
	require.Contains(t, until(t, in, "data: <td>GET"), "&lt;b&gt;", "what strangers have sent is text")
	require.Contains(t, until(t, in, "data: <td><span"), "no rule names this host")
	require.Equal(t, `data: <pre class="copy">[[allow]]`, until(t, in, "data: <pre"))
	require.Equal(t, "data: name = &#34;evil&#34;</pre>", until(t, in, "data: name"))

	h.pieces <- piece{list: []Decision{{ID: "GH-TWO"}}, missed: 7}
	require.Equal(t, "event: missed", until(t, in, "event: "))
	require.Equal(t, "data: 7", until(t, in, "data: "))
	require.Equal(t, "id: GH-TWO", until(t, in, "id: "))

	conn.Close()
	<-h.closed
}

// A carriage return ends a line of a stream, too: in what strangers have sent it must
// not begin one, which would be a field or an event of theirs.
func TestNobodyWritesEventsOfHisOwnIntoALiveView(t *testing.T) {
	h := &watched{pieces: make(chan piece)}
	conn, in := watch(t, h, nettest.Patience, "/decisions/live", "")
	h.pieces <- piece{list: []Decision{{ID: "GH-ONE", Passage: "GET a\r\revent: missed\rdata: 9\r\n\nevent: missed\ndata: 9", Rule: "last"}}}
	until(t, in, "id: GH-ONE")
	require.Equal(t, "data: <td>GET a", until(t, in, "data: <td>GET"))
	for _, want := range []string{"data: ", "data: event: missed", "data: data: 9", "data: ", "data: event: missed", "data: data: 9</td>"} {
		line, err := in.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, want, strings.TrimSuffix(line, "\n"))
	}
	conn.Close()
	<-h.closed
}

func TestTheJSONOfALiveViewIsAnObjectOnALine(t *testing.T) {
	h := &watched{pieces: make(chan piece)}
	_, in := watch(t, h, nettest.Patience, "/api/v1/decisions/live?after=GH-OLD", "")
	require.Equal(t, "GH-OLD", <-h.after)
	many := make([]Decision, mostAtOnce+3)
	for i := range many {
		many[i].ID = fmt.Sprint("GH-", i)
	}
	h.pieces <- piece{list: many, missed: 1}
	require.Equal(t, "event: missed", until(t, in, "event: "))
	require.Equal(t, "data: 4", until(t, in, "data: "), "of many at once the newest are told")
	require.Equal(t, "id: GH-3", until(t, in, "id: "))
	require.Contains(t, until(t, in, "data: "), `"id":"GH-3"`)
	h.pieces <- piece{err: errors.New("the gate is stopping")}
	until(t, in, "0") // the last chunk
	<-h.closed
}

func TestALiveViewThatIsNeverReadIsDropped(t *testing.T) {
	h := &watched{pieces: make(chan piece)}
	watch(t, h, 50*time.Millisecond, "/decisions/live", "")
	large := make([]Decision, mostAtOnce)
	for i := range large {
		large[i].Passage = strings.Repeat("x", 64<<10)
	}
	for dropped := false; !dropped; {
		select {
		case h.pieces <- piece{list: large}: // megabytes, of which the kernel takes the first
		case <-h.closed:
			dropped = true
		}
	}
}

func TestWhereManyLookOnAlreadyThatIsSaid(t *testing.T) {
	h := &watched{full: errors.New("as many look on as may")}
	_, in := watch(t, h, nettest.Patience, "/decisions/live", "Connection: close\r\n")
	require.Equal(t, "HTTP/1.1 503 Service Unavailable", until(t, in, "HTTP/1.1"))
	rest, err := io.ReadAll(in)
	require.NoError(t, err)
	require.Contains(t, string(rest), "as many look on as may")
}
