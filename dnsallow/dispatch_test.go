package dnsallow

import (
	"fmt"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

// askedByPost opens a server whose clients may ask for asked and its aliases'
// targets, and tests what becomes of one question of theirs.
func askedByPost(t *testing.T, up *nettest.DNS, changes ...func(*ResolverConfig)) *window {
	t.Helper()
	p := compile(t, allow(t, "one", asked), allow(t, "wild", "*.wild.example.org"))
	return open(t, up, p, func(_ *ServerConfig, d *ServerDeps) { d.Resolver = resolverTo(t, up, newClock(), changes...) })
}

// underWay is how many questions wait for somebody.
func underWay(w *window) int {
	w.gate.mu.Lock()
	defer w.gate.mu.Unlock()
	return w.gate.under
}

func TestWhatIsUnderWayOccupiesNoGoroutine(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("elsewhere a goroutine waits")
	}
	up := nettest.NewDNS(t, asked+". 300 IN A 93.184.216.34")
	release := make(chan struct{})
	up.Handle(asked, nettest.Slow(release, up.HonestHandler))
	w := askedByPost(t, up)
	var reply *dns.Msg
	var client sync.WaitGroup
	client.Go(func() { reply = w.ask(t, query(asked+".", dns.TypeA)) })
	require.Eventually(t, func() bool { return up.Asked(asked, "A") == 1 }, patience, time.Millisecond)
	require.Empty(t, w.workers)
	require.Zero(t, w.idle.Load())
	close(release)
	client.Wait()
	require.Equal(t, []string{"A 93.184.216.34"}, answers(reply))
	require.Equal(t, policy.Matched, w.book.only(t).Verdict.Reason)
	require.Equal(t, 1, up.Asked(asked, "A"))
}

// A name that a client asks for and a tunnel leads to, at the same time, is one
// question to the upstream, whoever of them was first.
func TestTheProxyWaitsForWhatIsUnderWayByPost(t *testing.T) {
	up := nettest.NewDNS(t, asked+". 300 IN A 93.184.216.34")
	release := make(chan struct{})
	up.Handle(asked, func(w dns.ResponseWriter, q *dns.Msg) {
		if q.Question[0].Qtype == dns.TypeA {
			nettest.Slow(release, up.HonestHandler)(w, q)
			return
		}
		up.HonestHandler(w, q)
	})
	w := askedByPost(t, up)
	var reply *dns.Msg
	var permits []policy.Permit
	var both sync.WaitGroup
	both.Go(func() { reply = w.ask(t, query(asked+".", dns.TypeA)) })
	require.Eventually(t, func() bool { return up.Asked(asked, "A") == 1 }, patience, time.Millisecond)
	passage := permit(t, w.live.Policy(), machine, asked, 443, w.clock.Now())
	both.Go(func() { permits, _, _ = w.resolver.Resolve(t.Context(), passage) })
	require.Eventually(t, func() bool {
		fs := &w.resolver.flights
		fs.mu.Lock()
		defer fs.mu.Unlock()
		f := fs.aloft[question{asked, dns.TypeA}]
		return f != nil && f.landed != nil
	}, patience, time.Millisecond, "the proxy waits")
	close(release)
	both.Wait()
	require.Equal(t, []string{"A 93.184.216.34"}, answers(reply))
	require.Equal(t, []string{"93.184.216.34"}, addrs(permits))
	require.Equal(t, 1, up.Asked(asked, "A"))
	require.Equal(t, 1, up.Asked(asked, "AAAA"))
}

// What a goroutine has to go on with.
func TestWhatComesByPostAndIsNoAnswerIsGoneOnWith(t *testing.T) {
	honest := []string{asked + ". 300 IN A 93.184.216.34"}
	for what, c := range map[string]struct {
		zone   []string
		handle func(up *nettest.DNS) dns.HandlerFunc
		want   []string
		rcode  int
		ede    uint16
	}{
		"a truncated answer is fetched over TCP": {
			zone: honest, want: []string{"A 93.184.216.34"},
			handle: func(up *nettest.DNS) dns.HandlerFunc {
				return func(w dns.ResponseWriter, q *dns.Msg) {
					m := up.Honest(q)
					if m.Truncated = !overTCPOnly(w); m.Truncated {
						m.Answer = nil
					}
					w.WriteMsg(m)
				}
			},
		},
		"a server without EDNS is asked again without it": {
			zone: honest, want: []string{"A 93.184.216.34"},
			handle: func(up *nettest.DNS) dns.HandlerFunc {
				return func(w dns.ResponseWriter, q *dns.Msg) {
					if q.IsEdns0() != nil {
						nettest.Rcode(dns.RcodeFormatError)(w, q)
						return
					}
					w.WriteMsg(up.Honest(q))
				}
			},
		},
		"SERVFAIL stays SERVFAIL": {
			handle: func(*nettest.DNS) dns.HandlerFunc { return nettest.Rcode(dns.RcodeServerFailure) },
			rcode:  dns.RcodeServerFailure, ede: dns.ExtendedErrorCodeNoReachableAuthority,
		},
		"an alias that leads to itself is none": {
			handle: func(*nettest.DNS) dns.HandlerFunc {
				return func(w dns.ResponseWriter, q *dns.Msg) {
					m := new(dns.Msg).SetReply(q)
					m.Answer = []dns.RR{&dns.CNAME{
						Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: 300}, Target: q.Question[0].Name,
					}}
					w.WriteMsg(m)
				}
			},
			rcode: dns.RcodeServerFailure, ede: dns.ExtendedErrorCodeNetworkError,
		},
		"a name that does not exist": {rcode: dns.RcodeNameError},
	} {
		t.Run(what, func(t *testing.T) {
			up := nettest.NewDNS(t, c.zone...)
			if c.handle != nil {
				up.Handle(asked, c.handle(up))
			}
			w := askedByPost(t, up)
			reply := w.ask(t, query(asked+".", dns.TypeA))
			require.Equal(t, c.rcode, reply.Rcode)
			require.Equal(t, len(c.want), len(reply.Answer))
			if len(c.want) > 0 {
				require.Equal(t, c.want, answers(reply))
			}
			if c.ede != 0 {
				code, _ := explained(reply)
				require.Equal(t, c.ede, code)
			}
			require.Len(t, w.book.all(), 1)
			require.Zero(t, underWay(w))
		})
	}
}

func TestAnAliasThatUpstreamDoesNotFollowIsFollowedByPostToo(t *testing.T) {
	up := nettest.NewDNS(t, asked+". 300 IN CNAME target.example.net.", "target.example.net. 300 IN A 93.184.216.34")
	up.Handle(asked, func(w dns.ResponseWriter, q *dns.Msg) {
		m := up.Honest(q)
		m.Answer, m.Ns = m.Answer[:1], nil
		w.WriteMsg(m)
	})
	reply := askedByPost(t, up).ask(t, query(asked+".", dns.TypeA))
	require.Equal(t, []string{"CNAME target.example.net.", "A 93.184.216.34"}, answers(reply))
	require.Equal(t, 1, up.Asked("target.example.net", "A"))
}

// The silent one is given up by the postbox, and goes on being waited for beside
// the one that is asked next.
func TestWhatIsSlowByPostIsRacedByTheNext(t *testing.T) {
	silent, good := nettest.NewDNS(t), nettest.NewDNS(t, asked+". 300 IN A 93.184.216.34")
	silent.Handle(asked, nettest.Silence)
	w := askedByPost(t, silent, func(c *ResolverConfig) {
		c.Upstreams, c.Hedge = append(c.Upstreams, upstream(t, good.Addr)), 20*time.Millisecond
	})
	require.Equal(t, []string{"A 93.184.216.34"}, answers(w.ask(t, query(asked+".", dns.TypeA))))
	require.Equal(t, 1, silent.Asked(asked, "A"), "it was not asked twice")
}

func TestASlowAnswerByPostIsStillTaken(t *testing.T) {
	up := nettest.NewDNS(t, asked+". 300 IN A 93.184.216.34")
	release := make(chan struct{})
	up.Handle(asked, nettest.Slow(release, up.HonestHandler))
	w := askedByPost(t, up, func(c *ResolverConfig) { c.Hedge = 20 * time.Millisecond })
	up.Handle(asked, func(rw dns.ResponseWriter, q *dns.Msg) { // only the first of them is ever answered
		if up.Asked(asked, "A") == 1 {
			nettest.Slow(release, up.HonestHandler)(rw, q)
		}
	})
	var reply *dns.Msg
	var client sync.WaitGroup
	client.Go(func() { reply = w.ask(t, query(asked+".", dns.TypeA)) })
	require.Eventually(t, func() bool { return up.Asked(asked, "A") == 2 }, patience, time.Millisecond, "asked besides")
	close(release)
	client.Wait()
	require.Equal(t, []string{"A 93.184.216.34"}, answers(reply))
}

func TestServeEndsWithQuestionsInThePostbox(t *testing.T) {
	up := nettest.NewDNS(t)
	up.Handle(asked, nettest.Silence)
	p := compile(t, allow(t, "one", asked))
	w := open(t, up, p, func(c *ServerConfig, d *ServerDeps) { c.Drain = time.Millisecond })
	conn, err := net.Dial("udp", w.addr)
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write(packed(t, query(asked+".", dns.TypeA)))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return up.Asked(asked, "A") == 1 }, patience, time.Millisecond)
	stopped := make(chan struct{})
	go func() { defer close(stopped); w.stop() }()
	select {
	case <-stopped: // though its hedge is patience itself
	case <-time.After(patience / 2):
		t.Error("Serve does not end")
		<-stopped
	}
}

func TestAPanicOfAnObserverByPostEndsOneQuestion(t *testing.T) {
	up := nettest.NewDNS(t, asked+". 300 IN A 93.184.216.34")
	p := compile(t, allow(t, "one", asked))
	var once sync.Once
	w := open(t, up, p, func(_ *ServerConfig, d *ServerDeps) {
		d.Resolver.exchanger.observe = func(string, time.Duration, error) { once.Do(func() { panic("observer") }) }
	})
	require.Equal(t, dns.RcodeServerFailure, w.ask(t, query(asked+".", dns.TypeA)).Rcode)
	require.Equal(t, []string{"A 93.184.216.34"}, answers(w.ask(t, query(asked+".", dns.TypeA))))
	require.Zero(t, underWay(w))
}

func TestEachQuestionByPostHasAPortAnIDAndACaseOfItsOwn(t *testing.T) {
	up := nettest.NewDNS(t)
	var mu sync.Mutex
	ports, ids, cases := map[string]bool{}, map[uint16]bool{}, map[string]bool{}
	const names = 32
	w := askedByPost(t, up)
	for i := range names {
		name := fmt.Sprintf("%02d-averylongnamewithletters.wild.example.org", i)
		up.Handle(name, func(rw dns.ResponseWriter, q *dns.Msg) {
			mu.Lock()
			ports[rw.RemoteAddr().String()], ids[q.Id], cases[q.Question[0].Name[2:]] = true, true, true
			mu.Unlock()
			nettest.Rcode(dns.RcodeNameError)(rw, q)
		})
		require.Equal(t, dns.RcodeNameError, w.ask(t, query(name+".", dns.TypeA)).Rcode)
	}
	mu.Lock()
	defer mu.Unlock()
	// By chance a few of them may coincide.
	for what, n := range map[string]int{"ports": len(ports), "ids": len(ids), "cases": len(cases)} {
		require.GreaterOrEqual(t, n, names-3, what)
	}
}
