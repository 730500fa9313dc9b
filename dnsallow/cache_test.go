package dnsallow

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
)

func TestTheCacheStaysWithinItsBytes(t *testing.T) {
	now := time.Unix(0, 0)
	f := &facts{ttl: time.Hour, stored: now, addresses: []address{{netip.MustParseAddr("13.74.1.1"), time.Hour}}}
	key := func(i int) question { return question{fmt.Sprintf("n%03d.example", i), dns.TypeA} }
	c := newCache(10 * cost(key(0), f))
	for i := range 100 {
		c.put(key(i), f)
		require.NotNil(t, c.fresh(key(0), now), "what is asked again and again stays")
		require.LessOrEqual(t, c.size, c.limit)
	}
	require.Equal(t, 10, c.len())
	require.Nil(t, c.fresh(key(50), now))
	require.NotNil(t, c.fresh(key(99), now))

	c.put(key(99), f) // again: the old one goes
	require.Equal(t, 10, c.len())
	require.Equal(t, 10*cost(key(0), f), c.size)
}

func (c *cache) fresh(q question, now time.Time) *facts {
	f, _ := c.get(q, now)
	return f
}

func TestANameThatIsAskedForIsRenewedBeforeItExpires(t *testing.T) {
	for what, c := range map[string]struct {
		age     time.Duration
		renewed bool
	}{
		"in the last tenth of its time": {9 * time.Second, true},
		"not before":                    {8 * time.Second, false},
	} {
		t.Run(what, func(t *testing.T) {
			up, clock := nettest.NewDNS(t, asked+". 10 IN A 13.74.1.1"), newClock()
			r := resolverTo(t, up, clock)
			ask := func() *facts {
				f, err := r.lookup(context.Background(), question{asked, dns.TypeA})
				require.NoError(t, err)
				return f
			}
			first := ask()
			clock.Advance(c.age)
			require.Same(t, first, ask(), "nobody waits")
			r.Close()
			if !c.renewed {
				require.Equal(t, 1, up.Asked(asked, "A"))
				return
			}
			require.Equal(t, 2, up.Asked(asked, "A"))
			clock.Advance(8 * time.Second) // beyond the first one's time, and too early for a third
			require.NotSame(t, first, ask())
			require.Equal(t, 2, up.Asked(asked, "A"))
		})
	}
}

func TestAnAnswerThatCannotBeRenewedIsUsedToItsEnd(t *testing.T) {
	up, clock := nettest.NewDNS(t, asked+". 10 IN A 13.74.1.1"), newClock()
	r := resolverTo(t, up, clock)
	lookup := func() (*facts, error) { return r.lookup(context.Background(), question{asked, dns.TypeA}) }
	lookup()
	up.Handle(asked, nettest.Rcode(dns.RcodeServerFailure))
	clock.Advance(9 * time.Second)
	for range 5 {
		f, err := lookup()
		require.NoError(t, err)
		require.False(t, f.stale)
	}
	r.Close()
	require.Equal(t, 1+rounds, up.Asked(asked, "A"), "and it is tried once")
}

func TestACacheOfNothingKeepsNothing(t *testing.T) {
	up := nettest.NewDNS(t, asked+". 300 IN A 13.74.1.1")
	r := resolverTo(t, up, newClock(), func(c *ResolverConfig) { c.CacheBytes = 0 })
	for range 3 {
		_, err := r.lookup(context.Background(), question{asked, dns.TypeA})
		require.NoError(t, err)
	}
	require.Equal(t, 3, up.Asked(asked, "A"))
	require.Zero(t, r.CacheEntries())
}

func TestAnAnswerHoldsForItsTTLAndNoLonger(t *testing.T) {
	up, clock := nettest.NewDNS(t, asked+". 9 IN A 13.74.1.1"), newClock()
	r := resolverTo(t, up, clock)
	ask := func(name string, qtype uint16) {
		_, err := r.lookup(context.Background(), question{name, qtype})
		require.NoError(t, err)
	}
	ask(asked, dns.TypeA)
	clock.Advance(8 * time.Second)
	ask(asked, dns.TypeA)
	require.Equal(t, 1, up.Asked(asked, "A"))
	clock.Advance(time.Second)
	ask(asked, dns.TypeA)
	require.Equal(t, 2, up.Asked(asked, "A"))

	const gateway = "g7-prod-db3-001-sb.servicebus.windows.net" // does not exist yet
	ask(gateway, dns.TypeA)
	clock.Advance(29 * time.Second)
	ask(gateway, dns.TypeA)
	require.Equal(t, 1, up.Asked(gateway, "A"))
	clock.Advance(time.Second)
	ask(gateway, dns.TypeA)
	require.Equal(t, 2, up.Asked(gateway, "A"))
}

func TestAFailureIsKeptForASecond(t *testing.T) {
	up, clock := nettest.NewDNS(t, asked+". 9 IN A 13.74.1.1"), newClock()
	up.Handle(asked, nettest.Rcode(dns.RcodeServerFailure))
	r := resolverTo(t, up, clock)
	for range 3 {
		_, err := r.lookup(context.Background(), question{asked, dns.TypeA})
		require.Error(t, err)
	}
	require.Equal(t, rounds, up.Asked(asked, "A"))
	up.Handle(asked, nil)
	clock.Advance(time.Second)
	_, err := r.lookup(context.Background(), question{asked, dns.TypeA})
	require.NoError(t, err)
}

func TestManyAskersShareOneQuestion(t *testing.T) {
	up := nettest.NewDNS(t, asked+". 300 IN A 13.74.1.1")
	release := make(chan struct{})
	up.Handle(asked, nettest.Slow(release, up.HonestHandler))
	r := resolverTo(t, up, newClock())
	var askers sync.WaitGroup
	for range 50 {
		askers.Go(func() {
			f, err := r.lookup(context.Background(), question{asked, dns.TypeA})
			if err != nil || len(f.addresses) != 1 {
				t.Error("an asker went away without an answer", err)
			}
		})
	}
	require.Eventually(t, func() bool { return up.Asked(asked, "A") == 1 }, patience, time.Millisecond)
	close(release)
	askers.Wait()
	require.Equal(t, 1, up.Asked(asked, "A"))
}

func TestFlights(t *testing.T) {
	q := question{asked, dns.TypeA}
	good := &facts{ttl: time.Hour}
	t.Run("those who come while one is under way wait for it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var fs flights
			looks := 0
			land := make(chan struct{})
			look := func(context.Context, question) (*facts, error) {
				looks++
				<-land
				return good, nil
			}
			for range 10 {
				go func() {
					f, err := fs.do(context.Background(), q, look)
					if f != good || err != nil {
						t.Error("got something else")
					}
				}()
			}
			synctest.Wait()
			close(land)
			synctest.Wait()
			require.Equal(t, 1, looks)
		})
	})
	t.Run("when the first gives up another takes over", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var fs flights
			ctx, giveUp := context.WithCancel(context.Background())
			first := make(chan error, 1)
			go func() {
				_, err := fs.do(ctx, q, func(ctx context.Context, _ question) (*facts, error) {
					<-ctx.Done()
					return nil, ctx.Err()
				})
				first <- err
			}()
			synctest.Wait()
			second := make(chan *facts, 1)
			go func() {
				f, _ := fs.do(context.Background(), q, func(context.Context, question) (*facts, error) { return good, nil })
				second <- f
			}()
			synctest.Wait()
			giveUp()
			require.ErrorIs(t, <-first, context.Canceled)
			require.Same(t, good, <-second)
		})
	})
	t.Run("a failure is shared, for it is everybody's", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var fs flights
			broken, land := errors.New("broken"), make(chan struct{})
			errs := make(chan error, 2)
			for range 2 {
				go func() {
					_, err := fs.do(context.Background(), q, func(context.Context, question) (*facts, error) {
						<-land
						return nil, broken
					})
					errs <- err
				}()
			}
			synctest.Wait()
			close(land)
			require.ErrorIs(t, <-errs, broken)
			require.ErrorIs(t, <-errs, broken)
		})
	})
	t.Run("whoever waits can give up alone", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var fs flights
			land := make(chan struct{})
			go fs.do(context.Background(), q, func(context.Context, question) (*facts, error) {
				<-land
				return good, nil
			})
			synctest.Wait()
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_, err := fs.do(ctx, q, nil)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			close(land)
		})
	})
	t.Run("after a panic nobody waits for ever", func(t *testing.T) {
		var fs flights
		require.Panics(t, func() {
			fs.do(context.Background(), q, func(context.Context, question) (*facts, error) { panic("no") })
		})
		f, err := fs.do(context.Background(), q, func(context.Context, question) (*facts, error) { return good, nil })
		require.NoError(t, err)
		require.Same(t, good, f)
	})
}

// Facts with one address are one piece of memory of 160 octets, and there are tens
// of thousands of them.
func TestFactsAreSmall(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(facts{})+unsafe.Sizeof(address{}), uintptr(160))
}
