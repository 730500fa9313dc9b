package keeper

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gatehouse/internal/nettest"
)

// step is something that one end of a connection does.
type step struct {
	Client bool
	Write  int  // so many bytes
	Close  bool // has said all
	Reset  bool // and ends the script
	Heard  bool // waits until the other end has got everything so far
}

// player is one end: it hears all the time, and says what the script wants.
type player struct {
	conn   *net.TCPConn
	said   []byte
	closed bool
	heard  chan []byte // pieces; closed at the end
	end    error       // why it heard no more; after heard is closed
	got    []byte
}

func newPlayer(conn *net.TCPConn) *player {
	p := &player{conn: conn, heard: make(chan []byte, 1<<16)}
	conn.SetDeadline(time.Now().Add(nettest.Patience))
	go func() {
		defer close(p.heard)
		for {
			buf := make([]byte, 16<<10)
			n, err := conn.Read(buf)
			if n > 0 {
				p.heard <- buf[:n]
			}
			if err != nil {
				p.end = err
				return
			}
		}
	}()
	return p
}

// listen takes what has come until it is enough or no more comes.
func (p *player) listen(enough int) {
	for len(p.got) < enough {
		piece, ok := <-p.heard
		if !ok {
			return
		}
		p.got = append(p.got, piece...)
	}
}

const everythingThatComes = 1 << 30

// play lets both ends follow the script. It reports who was reset at its end, if
// somebody was, and whether all had been heard by then.
func play(script []step, client, origin *player) (reset *player, settled bool) {
	settled = true
	for _, s := range script {
		who, other := client, origin
		if !s.Client {
			who, other = origin, client
		}
		switch {
		case s.Write > 0 && !who.closed:
			piece := bytes.Repeat([]byte{byte(len(who.said)), byte(s.Write)}, s.Write)[:s.Write]
			n, _ := who.conn.Write(piece)
			who.said = append(who.said, piece[:n]...)
			settled = false
		case s.Close && !who.closed:
			who.closed = true
			who.conn.CloseWrite()
		case s.Heard:
			other.listen(len(who.said))
			who.listen(len(other.said))
			settled = true
		case s.Reset:
			who.conn.SetLinger(0)
			who.conn.Close()
			return who, settled
		}
	}
	client.conn.CloseWrite()
	origin.conn.CloseWrite()
	return nil, settled
}

func scripts() *rapid.Generator[[]step] {
	sizes := rapid.SampledFrom([]int{1, 2, 1000, pieceBytes - 1, pieceBytes, pieceBytes + 1, 2 * pieceBytes, 5 * pieceBytes})
	one := rapid.Custom(func(t *rapid.T) step {
		s := step{Client: rapid.Bool().Draw(t, "client")}
		switch kind := rapid.IntRange(0, 19).Draw(t, "kind"); {
		case kind < 12:
			s.Write = sizes.Draw(t, "write")
		case kind < 15:
			s.Close = true
		case kind < 19:
			s.Heard = true
		default:
			s.Reset = true
		}
		return s
	})
	return rapid.SliceOfN(one, 0, 20)
}

const pieceBytes = 64 << 10

// Whatever two ends say, close and reset, they get through the tunnel what they
// would have got from each other.
func TestATunnelIsLikeADirectConnection(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		k := newKeeper(t, time.Hour)
		ln := loopback(t)
		rapid.Check(t, func(rt *rapid.T) {
			script := scripts().Draw(rt, "script")
			results := make(chan Result, 1)
			tunnel, far, far2 := w.tunnel(t, k, ln, func(r Result) { results <- r })
			tunnel.Open(nil)
			client, origin := newPlayer(far), newPlayer(far2)
			reset, settled := play(script, client, origin)
			client.listen(everythingThatComes)
			origin.listen(everythingThatComes)
			// A copy that has seen one side's end does not look at it again; and
			// where both had said all there is nothing left to reset.
			passedOn := reset != nil && !(client.closed && origin.closed) && (!reset.closed || !w.copy)
			var r Result
			if passedOn {
				r = <-results
			}
			far.Close()
			far2.Close()
			if !passedOn {
				r = <-results
			}
			require.True(rt, bytes.HasPrefix(client.said, origin.got), "the origin heard what was not said")
			require.True(rt, bytes.HasPrefix(origin.said, client.got), "the client heard what was not said")
			require.GreaterOrEqual(rt, r.Sent, int64(len(origin.got)))
			require.GreaterOrEqual(rt, r.Received, int64(len(client.got)))
			if reset == nil || settled {
				require.Equal(rt, int64(len(client.said)), r.Sent)
				require.Equal(rt, int64(len(origin.said)), r.Received)
				require.Len(rt, origin.got, len(client.said))
				require.Len(rt, client.got, len(origin.said))
			}
			if passedOn {
				require.True(rt, r.Reset)
			}
			if reset == nil {
				require.False(rt, r.Reset)
				require.ErrorIs(rt, client.end, io.EOF)
				require.ErrorIs(rt, origin.end, io.EOF)
			}
		})
	})
}
