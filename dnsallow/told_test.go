package dnsallow

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

// names spells hosts out.
func names(list []policy.Host) []string {
	out := []string{}
	for _, h := range list {
		out = append(out, h.Name())
	}
	return out
}

func TestTheBookKnowsWhomAnAddressWasTold(t *testing.T) {
	controller, behind := netip.MustParseAddr("10.0.0.10"), netip.MustParseAddr("10.20.0.99")
	bus, west := netip.MustParseAddr("13.74.107.71"), netip.MustParseAddr("13.69.64.65")
	const name = "emergeen.servicebus.windows.net"
	up := nettest.NewDNS(t, schoolZone...)
	open := func(t *testing.T) (*window, *Told) {
		book := NewTold([]netip.Prefix{netip.PrefixFrom(controller, 32)})
		return open(t, up, schoolRules(t), func(_ *ServerConfig, d *ServerDeps) { d.Told = book }), book
	}
	ask := func(w *window, name string, client netip.Addr) {
		require.NotNil(t, w.told(t, packed(t, query(name+".", dns.TypeA)), client))
	}
	t.Run("the client that asked, by the name it asked for", func(t *testing.T) {
		w, book := open(t)
		ask(w, name, machine)
		require.Equal(t, []string{name}, names(book.Names(machine, bus, w.clock.Now())))
		mapped := netip.AddrFrom16(bus.As16())
		require.Equal(t, []string{name}, names(book.Names(netip.AddrFrom16(machine.As16()), mapped, w.clock.Now())), "as a socket spells them")
		require.Empty(t, book.Names(behind, bus, w.clock.Now()), "nobody else")
		require.Empty(t, book.Names(machine, west, w.clock.Now()), "an address that was refused was told to nobody")
	})
	t.Run("what a server that asks for others was told, everybody was", func(t *testing.T) {
		w, book := open(t)
		ask(w, name, controller)
		require.Equal(t, []string{name}, names(book.Names(behind, bus, w.clock.Now())))
	})
	t.Run("an answer given again holds no longer than the first, and one made anew does", func(t *testing.T) {
		w, book := open(t)
		began := w.clock.Now()
		ask(w, name, machine)
		w.clock.Advance(5 * time.Second)
		ask(w, name, machine)
		require.NotEmpty(t, book.Names(machine, bus, began.Add(9*time.Second+toldGrace-1)))
		require.Empty(t, book.Names(machine, bus, began.Add(9*time.Second+toldGrace)))
		w.clock.Advance(5 * time.Second)
		ask(w, name, machine)
		require.NotEmpty(t, book.Names(machine, bus, began.Add(19*time.Second+toldGrace-1)))
	})
	t.Run("a name that is refused is told to nobody", func(t *testing.T) {
		w, book := open(t)
		ask(w, "west.servicebus.windows.net", machine)
		ask(w, "other.servicebus.windows.net", machine)
		for _, a := range []netip.Addr{bus, west} {
			require.Empty(t, book.Names(machine, a, w.clock.Now()))
		}
	})
	t.Run("without a book nothing is known", func(t *testing.T) {
		require.Nil(t, (*Told)(nil).Names(machine, bus, time.Time{}))
	})
}

func TestTheBookNamesAllThatShareAnAddress(t *testing.T) {
	book, now, addr := NewTold(nil), newClock().Now(), netip.MustParseAddr("13.74.1.1")
	for i := range toldNames + 1 {
		book.note(machine, host(t, fmt.Sprintf("n%d.example.org", i)), addr, now.Add(time.Duration(10+i)*time.Second))
	}
	book.note(machine, host(t, "n3.example.org"), addr, now) // an older answer takes nothing back
	got := names(book.Names(machine, addr, now))
	require.Len(t, got, toldNames)
	require.Equal(t, "n8.example.org", got[0], "the freshest first")
	require.NotContains(t, got, "n0.example.org", "the one whose time was over first made room")
	require.Contains(t, got, "n3.example.org")
}

func TestTheBookIsBounded(t *testing.T) {
	book, now, name := NewTold(nil), newClock().Now(), host(t, "n.example.org")
	addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{13, byte(i >> 16), byte(i >> 8), byte(i)}) }
	const many = 3 * toldMost
	for i := range many {
		book.note(machine, name, addr(i), now)
		book.note(machine, name, addr(0), now) // in use all the time
	}
	require.LessOrEqual(t, len(book.young)+len(book.old), 2*toldMost)
	require.NotEmpty(t, book.Names(machine, addr(many-1), now))
	require.NotEmpty(t, book.Names(machine, addr(0), now), "what is used stays")
	require.Empty(t, book.Names(machine, addr(1), now))
}
