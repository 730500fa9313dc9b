package dnsallow

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
)

// dialed is a TCP connection to a window from an address of loopback.
func dialed(t *testing.T, w *window, from string) *net.TCPConn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.DialContext(t.Context(), "tcp", w.addr)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return conn.(*net.TCPConn)
}

// next is the next reply of a connection.
func (w *window) next(t *testing.T, conn io.Reader) *dns.Msg {
	t.Helper()
	reply, err := readFramed(conn, dns.MaxMsgSize)
	require.NoError(t, err)
	return w.read(t, reply)
}

// watched is one end of a pipe that counts how often its deadlines are set.
type watched struct {
	net.Conn
	reads, writes atomic.Int32
}

func (c *watched) RemoteAddr() net.Addr { return &net.TCPAddr{IP: loopback.AsSlice(), Port: 4711} }

func (c *watched) SetReadDeadline(at time.Time) error {
	c.reads.Add(1)
	return c.Conn.SetReadDeadline(at)
}

func (c *watched) SetWriteDeadline(at time.Time) error {
	c.writes.Add(1)
	return c.Conn.SetWriteDeadline(at)
}

// Whoever sends a question octet by octet has for all of it the time that others
// may be silent: an octet now and then keeps no connection open.
func TestAQuestionInDripsHasOneDeadline(t *testing.T) {
	w := open(t, nettest.NewDNS(t, schoolZone...), schoolRules(t))
	client, end := net.Pipe()
	conn, done := &watched{Conn: end}, make(chan struct{})
	go func() {
		defer close(done)
		w.converse(t.Context(), t.Context(), conn, patience)
	}()
	question := framed(packed(t, query("www.groupcall.co.uk.", dns.TypeA)))
	for i := range question {
		_, err := client.Write(question[i : i+1]) // returns when it has been read
		require.NoError(t, err)
		if i < len(question)-1 {
			require.Equal(t, int32(1), conn.reads.Load(), "octet %d", i)
		}
	}
	require.Equal(t, []string{"A 51.140.10.10"}, answers(w.next(t, client)))
	require.Equal(t, int32(1), conn.writes.Load(), "who does not read the reply is not waited for, either")
	client.Close()
	<-done
}

func TestALongMessageOverTCPIsReadAndNotKept(t *testing.T) {
	w := open(t, nettest.NewDNS(t, schoolZone...), schoolRules(t))
	good := packed(t, query("www.groupcall.co.uk.", dns.TypeA))
	long := slices.Clone(good)
	long[headerBytes-1] = 2 // another record, which is longer than the message may be
	long = append(long, 0, 0xff, 0x00, 0, 1, 0, 0, 0, 0, 0xf0, 0)
	long = append(long, make([]byte, dns.MaxMsgSize-len(long))...)
	conn := dialed(t, w, "127.0.0.1")
	for range 3 { // the next message begins where the one before ends
		_, err := conn.Write(append(framed(long), framed(good)...))
		require.NoError(t, err)
		rcodes := []int{w.next(t, conn).Rcode, w.next(t, conn).Rcode}
		slices.Sort(rcodes)
		require.Equal(t, []int{dns.RcodeSuccess, dns.RcodeFormatError}, rcodes)
	}
	client, end := net.Pipe()
	defer client.Close()
	go func() {
		defer end.Close()
		end.Write(framed(long))
	}()
	packet, err := readFramed(client, longestQuestion)
	require.NoError(t, err)
	require.Equal(t, longestQuestion, cap(packet), "its sender says how long it is, and takes no more memory")
}

// RFC 7766, section 6.2.1: a client may have asked all it wants before it is
// answered at all, and may say by half a close that this was all.
func TestManyQuestionsAtOnceAreAllAnsweredBeforeTheEnd(t *testing.T) {
	const questions = 5 * pipelined
	var zone []string
	for i := range questions {
		zone = append(zone, fmt.Sprintf("host-%d.groupcall.co.uk. 60 IN A 51.140.10.10", i))
	}
	w := open(t, nettest.NewDNS(t, zone...), schoolRules(t))
	conn := dialed(t, w, "127.0.0.1")
	var all []byte
	for i := range questions {
		all = append(all, framed(packed(t, query(fmt.Sprintf("host-%d.groupcall.co.uk.", i), dns.TypeA)))...)
	}
	_, err := conn.Write(all)
	require.NoError(t, err)
	require.NoError(t, conn.CloseWrite())
	names := map[string]bool{}
	for range questions {
		reply := w.next(t, conn)
		require.Len(t, reply.Answer, 1)
		names[reply.Question[0].Name] = true
	}
	require.Len(t, names, questions)
	_, err = conn.Read(make([]byte, 1))
	require.Equal(t, io.EOF, err)
}

// What a client asked that is gone ends by itself, and holds up nobody: TestMain
// looks for what is left.
func TestAClientThatAsksAndIsGoneLeavesNothing(t *testing.T) {
	up := nettest.NewDNS(t, schoolZone...)
	release := make(chan struct{})
	up.Handle("slow.groupcall.co.uk", nettest.Slow(release, up.HonestHandler))
	w := open(t, up, schoolRules(t))
	conn := dialed(t, w, "127.0.0.1")
	_, err := conn.Write(framed(packed(t, query("slow.groupcall.co.uk.", dns.TypeA))))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return up.Asked("slow.groupcall.co.uk", "A") == 1 }, patience, time.Millisecond)
	require.NoError(t, conn.SetLinger(0)) // it ends by a reset
	require.NoError(t, conn.Close())
	require.Equal(t, []string{"A 51.140.10.10"}, answers(w.ask(t, query("www.groupcall.co.uk.", dns.TypeA))))
	close(release)
	require.Eventually(t, func() bool { return len(w.book.all()) == 2 }, patience, time.Millisecond, "it is in the book all the same")
}

func TestOneClientTakesAnEighthOfTheConnections(t *testing.T) {
	var said bytes.Buffer // the handler's own lock guards it
	w := open(t, nettest.NewDNS(t, schoolZone...), schoolRules(t), func(c *ServerConfig, d *ServerDeps) {
		c.Connections, d.Log = 16, slog.New(slog.NewTextHandler(&said, nil))
	})
	greets := func(conn net.Conn) error {
		conn.Write(framed(packed(t, query("www.groupcall.co.uk.", dns.TypeA))))
		_, err := readFramed(conn, dns.MaxMsgSize)
		return err
	}
	first := dialed(t, w, "127.0.0.1")
	require.NoError(t, greets(first))
	require.NoError(t, greets(dialed(t, w, "127.0.0.1")))
	for range 3 {
		require.Error(t, greets(dialed(t, w, "127.0.0.1")), "a third of the same client")
	}
	require.NoError(t, greets(dialed(t, w, "127.0.0.2")), "another client of its network")
	first.Close()
	require.Eventually(t, func() bool { return greets(dialed(t, w, "127.0.0.1")) == nil }, patience, time.Millisecond, "there is room again")
	w.stop()
	require.Equal(t, 1, strings.Count(said.String(), "closed at once"), "it is said once a minute")
	require.GreaterOrEqual(t, w.LinesRefused(), uint64(3), "each is counted")
	require.Contains(t, said.String(), "client=127.0.0.1")
}

func TestAdmissionForgetsWhoHasLeft(t *testing.T) {
	a := admission{total: 3, each: 2, alone: 1}
	one, two, three := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3")
	require.Equal(t, []admitted{entered, silenced, entered, silenced},
		[]admitted{a.enter(one), a.enter(one), a.enter(two), a.enter(three)})
	a.leave(one)
	require.Equal(t, entered, a.enter(three))
	a.leave(two)
	a.leave(three)
	require.Empty(t, a.clients)
	require.Empty(t, a.networks)
	require.Zero(t, a.under)
}

// Who reads from TLS writes, too: a client that says hello and takes nothing of what
// is said to it is waited for no longer than one that is silent.
func TestAClientThatTakesNothingOfTLSIsNotWaitedFor(t *testing.T) {
	w := open(t, nettest.NewDNS(t, schoolZone...), schoolRules(t))
	client, end := net.Pipe() // which holds nothing: what is written waits for its reader
	defer client.Close()
	config := &tls.Config{Certificates: []tls.Certificate{nettest.SelfSigned(t, nil, "localhost")}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.converse(t.Context(), t.Context(), tls.Server(&watched{Conn: end}, config), time.Second)
	}()
	go tls.Client(onlyTalks{client}, &tls.Config{InsecureSkipVerify: true}).Handshake()
	select {
	case <-done:
	case <-time.After(patience):
		t.Error("it is still waited for")
	}
}

// onlyTalks never reads.
type onlyTalks struct{ net.Conn }

func (c onlyTalks) Read([]byte) (int, error) { return 0, io.EOF }

// RFC 7830, section 4, and RFC 8467: over TLS a padded question has a padded reply;
// in the clear there is nothing to hide.
func TestAPaddedQuestionOverTLSHasAPaddedReply(t *testing.T) {
	w := open(t, nettest.NewDNS(t, schoolZone...), schoolRules(t))
	client, end := net.Pipe()
	done := make(chan struct{})
	config := &tls.Config{Certificates: []tls.Certificate{nettest.SelfSigned(t, nil, "localhost")}}
	go func() {
		defer close(done)
		w.converse(t.Context(), t.Context(), tls.Server(&watched{Conn: end}, config), patience)
	}()
	secure := tls.Client(client, &tls.Config{InsecureSkipVerify: true})
	for what, c := range map[string]struct {
		conn   io.ReadWriter
		name   string
		pads   bool
		padded bool
	}{
		"an answer":          {secure, "www.groupcall.co.uk.", true, true},
		"a refusal":          {secure, "other.servicebus.windows.net.", true, true},
		"who does not pad":   {secure, "www.groupcall.co.uk.", false, false},
		"who is in the open": {dialed(t, w, "127.0.0.1"), "www.groupcall.co.uk.", true, false},
	} {
		m := query(c.name, dns.TypeA)
		if c.pads {
			m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_PADDING{Padding: make([]byte, 70)})
		}
		_, err := c.conn.Write(framed(packed(t, m)))
		require.NoError(t, err, what)
		wire, err := readFramed(c.conn, dns.MaxMsgSize)
		require.NoError(t, err, what)
		reply := w.read(t, wire)
		require.Equal(t, c.padded, len(wire)%paddingBlock == 0, "%s: %d octets", what, len(wire))
		padding := slices.ContainsFunc(reply.IsEdns0().Option, func(o dns.EDNS0) bool { return o.Option() == dns.EDNS0PADDING })
		require.Equal(t, c.padded, padding, what)
		if c.name != "www.groupcall.co.uk." {
			code, text := explained(reply)
			require.Equal(t, dns.ExtendedErrorCodeBlocked, code)
			require.Contains(t, text, "host-not-listed GH-")
		}
	}
	secure.Close()
	<-done
}
