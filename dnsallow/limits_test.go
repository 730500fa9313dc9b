package dnsallow

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

func TestBeyondTheBoundsQuestionsAreTurnedAway(t *testing.T) {
	for what, c := range map[string]struct {
		total, each int
		refused     bool
	}{
		"in all: REFUSED":         {1, 2, true},
		"from a network: silence": {2, 1, false},
	} {
		t.Run(what, func(t *testing.T) {
			up := nettest.NewDNS(t, schoolZone...)
			release := make(chan struct{})
			up.Handle("www.groupcall.co.uk", nettest.Slow(release, up.HonestHandler))
			w := open(t, up, schoolRules(t), func(bounds *ServerConfig, d *ServerDeps) {
				bounds.Concurrent, bounds.PerNetwork = c.total, c.each
			})
			first := make(chan []byte, 1)
			var waiting sync.WaitGroup
			waiting.Go(func() { first <- w.raw(t, packed(t, query("www.groupcall.co.uk.", dns.TypeA)), patience) })
			require.Eventually(t, func() bool { return up.Asked("www.groupcall.co.uk", "A") == 1 }, patience, time.Millisecond)
			second := w.respond(t.Context(), packed(t, query("pinned.groupcall.co.uk.", dns.TypeA)), &net.UDPAddr{IP: loopback.AsSlice()}, false)
			if c.refused {
				reply := w.read(t, second)
				require.Equal(t, dns.RcodeRefused, reply.Rcode)
				_, text := explained(reply)
				require.Contains(t, text, "limit GH-")
			} else {
				require.Nil(t, second)
			}
			require.Equal(t, policy.Limit, w.book.only(t).Verdict.Reason)
			close(release)
			waiting.Wait()
			require.Len(t, w.read(t, <-first).Answer, 1)
			require.Len(t, w.ask(t, query("pinned.groupcall.co.uk.", dns.TypeA)).Answer, 2, "there is room again")
		})
	}
}

func TestStrangersAreRefusedOnlySoOftenAndThenSilence(t *testing.T) {
	w := open(t, nettest.NewDNS(t, schoolZone...), schoolRules(t))
	n := 0
	ask := func(client string, tcp bool) []byte {
		n++
		packet := packed(t, query(fmt.Sprintf("name-%d.example.org.", n), dns.TypeA))
		addr := &net.UDPAddr{IP: net.ParseIP(client), Port: 4711}
		return w.respond(t.Context(), packet, addr, tcp)
	}
	for i := range strangerRefusals {
		require.NotNil(t, ask("203.0.113.9", false), i)
	}
	require.Nil(t, ask("203.0.113.77", false), "its whole network has been told often enough")
	require.Equal(t, policy.Limit, w.book.all()[strangerRefusals].Verdict.Reason, "and it is counted")
	require.NotNil(t, ask("203.0.113.9", true), "over TCP nobody is forged")
	require.NotNil(t, ask("198.51.100.9", false), "another network is")
	w.clock.Advance(time.Second)
	require.NotNil(t, ask("203.0.113.9", false))
}

func TestAClientThatAsksTooMuchIsRefusedAndNobodyElse(t *testing.T) {
	w := open(t, nettest.NewDNS(t, schoolZone...), schoolRules(t), func(c *ServerConfig, _ *ServerDeps) { c.PerClient = 5 })
	ask := func(client netip.Addr, i int) *dns.Msg {
		name := fmt.Sprintf("name-%d.example.org.", i)
		return w.read(t, w.respond(t.Context(), packed(t, query(name, dns.TypeA)), &net.UDPAddr{IP: client.AsSlice()}, false))
	}
	for i := range 10 {
		require.Equal(t, dns.RcodeNameError, ask(machine, i).Rcode, i)
	}
	reply := ask(machine, 10)
	require.Equal(t, dns.RcodeRefused, reply.Rcode)
	_, text := explained(reply)
	require.Contains(t, text, "limit GH-")
	require.Equal(t, dns.RcodeNameError, ask(tablet, 11).Rcode)
	w.clock.Advance(time.Second)
	require.Equal(t, dns.RcodeNameError, ask(machine, 12).Rcode)
}

func TestStrangersTakeNoTCPConnectionFromTheSchool(t *testing.T) {
	w := open(t, nettest.NewDNS(t, schoolZone...), nil, func(c *ServerConfig, _ *ServerDeps) { c.Idle = time.Hour })
	var held []net.Conn
	for range strangerConnections / 4 {
		conn, err := net.Dial("tcp", w.addr)
		require.NoError(t, err)
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		conn.Write(framed(packed(t, query("www.groupcall.co.uk.", dns.TypeA))))
		reply, err := readFramed(conn, dns.MaxMsgSize)
		require.NoError(t, err)
		require.Equal(t, dns.RcodeRefused, w.read(t, reply).Rcode, "there is no policy yet: everybody is a stranger")
		held = append(held, conn)
	}
	more, err := net.Dial("tcp", w.addr)
	require.NoError(t, err)
	defer more.Close()
	more.SetDeadline(time.Now().Add(patience))
	_, err = more.Read(make([]byte, 1))
	require.Error(t, err, "no more room on the porch")
	w.live.Swap(schoolRules(t))
	guest, err := net.Dial("tcp", w.addr)
	require.NoError(t, err)
	defer guest.Close()
	guest.SetDeadline(time.Now().Add(patience))
	guest.Write(framed(packed(t, query("www.groupcall.co.uk.", dns.TypeA))))
	_, err = readFramed(guest, dns.MaxMsgSize)
	require.NoError(t, err)
	_, err = held[0].Read(make([]byte, 1))
	require.Equal(t, io.EOF, err, "a stranger that falls silent is sent away soon")
}
