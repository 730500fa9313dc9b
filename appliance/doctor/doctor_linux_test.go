package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
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

func TestMain(m *testing.M) { nettest.Main(m) }

// book resolves names as it was told, and has the policy judge the addresses.
type book map[string][]string

func (b book) Resolve(_ context.Context, permit policy.Permit) (permits []policy.Permit, last policy.Verdict, err error) {
	list, ok := b[permit.Dest().Host.String()]
	if !ok {
		return nil, last, errors.New("no such name")
	}
	last.Effect = policy.Allow
	for _, a := range list {
		v, judged := permit.Policy().Answer(policy.Answer{At: noon(), Permit: permit, Addr: netip.MustParseAddr(a)})
		if !v.Allowed() {
			last = v
			continue
		}
		permits = append(permits, judged)
	}
	if len(permits) > 0 {
		last = policy.Verdict{Effect: policy.Allow, Reason: policy.Matched}
	}
	return permits, last, nil
}

func noon() time.Time { return time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC) }

// rule is an allow of one host and port for 10.20.0.5, whose names may lead to
// 127.0.0.1.
func rule(t *testing.T, name, host string, port int, change func(*policy.Rule)) policy.Rule {
	h, err := policy.ParseHostPattern(host)
	require.NoError(t, err)
	r := policy.Rule{
		Name: "pack/" + name, Pack: "pack", Line: 3, Clients: policy.Clients{Prefixes: []netip.Prefix{netip.MustParsePrefix("10.20.0.5/32")}},
		Hosts: []policy.ListedHost{{HostPattern: h}}, Ports: []policy.PortRange{{First: uint16(port), Last: uint16(port)}},
		Addresses: policy.Addresses{Prefixes: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}},
	}
	if change != nil {
		change(&r)
	}
	return r
}

func secure(r *policy.Rule) { r.Protocol = policy.TLS }
func plain(r *policy.Rule)  { r.Protocol = policy.PlainHTTP }

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

type surroundings struct {
	roots   *x509.CertPool
	names   book
	now     time.Time
	o       Options
	parents []proxy.Parent
	after   func(time.Duration, func()) (stop func() bool)
}

// examined tries rules, and gives the report of pack "pack".
func examined(t *testing.T, s surroundings, list ...policy.Rule) (pack *Check, all []*Check, ready bool) {
	t.Helper()
	p, err := policy.Compile(policy.Spec{Rules: list, TreatAsPublic: loopback})
	require.NoError(t, err)
	if s.now.IsZero() {
		s.now = noon()
	}
	gate := proxy.New(proxy.Config{Parents: s.parents}, proxy.Deps{Policy: new(policy.Live), Resolver: s.names})
	d := New(s.o, Deps{Policy: p, Resolver: s.names, Gate: Through(gate), Roots: s.roots, Now: func() time.Time { return s.now }, AfterFunc: s.after})
	all, packs, err := d.Requirements(t.Context())
	require.NoError(t, err)
	require.Equal(t, "pack pack", all[0].Name)
	return all[0], all, packs["pack"]
}

// step is the state and the words of one step to the only place of the only rule.
func step(t *testing.T, pack *Check, name string) *Check {
	t.Helper()
	for _, c := range pack.Parts[0].Parts[0].Parts {
		if c.Name == name {
			return c
		}
	}
	require.Fail(t, "no such step", "%s in %+v", name, pack.Parts[0].Parts[0])
	return nil
}

// site is an HTTP origin that notes what it was asked.
func site(t *testing.T, h http.HandlerFunc) (port int) {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	_, text, _ := strings.Cut(s.Listener.Addr().String(), ":")
	port, err := strconv.Atoi(text)
	require.NoError(t, err)
	return port
}

func TestAPackIsReadyWhereAllItAsksForWorks(t *testing.T) {
	var asked atomic.Int32
	port := site(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.Method != "GET" || r.URL.Path != "/status.xml" || r.Host != "www.example.org:"+strings.TrimPrefix(r.Context().Value(http.LocalAddrContextKey).(net.Addr).String(), "127.0.0.1:") {
			w.WriteHeader(http.StatusTeapot)
		}
		w.Header().Set("Date", noon().Format(http.TimeFormat))
	})
	pack, all, ready := examined(t, surroundings{names: book{"www.example.org": {"127.0.0.1"}}},
		rule(t, "status", "www.example.org", port, func(r *policy.Rule) {
			plain(r)
			glob, err := policy.ParseGlob("/status.xml")
			require.NoError(t, err)
			r.Paths = []policy.Glob{glob}
		}),
		rule(t, "gateways", "*.example.org", 443, nil))
	require.True(t, ready)
	require.Equal(t, int32(1), asked.Load())
	require.Contains(t, step(t, pack, "name").Says, "leads to 127.0.0.1")
	require.Contains(t, step(t, pack, "GET").Says, "answers 200")
	require.Equal(t, NotTried, pack.Parts[1].State, "a name that stands for many is no failure")
	require.Equal(t, Fine("clock", "agrees with that of www.example.org"), all[len(all)-1])
}

func TestWhatHangsOnAFailureIsNotTried(t *testing.T) {
	pack, _, ready := examined(t, surroundings{names: book{}}, rule(t, "bus", "bus.example.org", 443, nil))
	require.False(t, ready)
	require.Equal(t, Failed, pack.State)
	require.Equal(t, Failed, step(t, pack, "name").State)
	for _, name := range []string{"connection", "certificate", "GET"} {
		require.Equal(t, NotTried, step(t, pack, name).State)
		require.Equal(t, "not tried, because name failed", step(t, pack, name).Says)
	}
}

func TestANameThatLeadsOutOfItsRegionIsToldWithTheRegion(t *testing.T) {
	pack, _, ready := examined(t, surroundings{names: book{"bus.example.org": {"127.0.0.9"}}},
		rule(t, "bus", "bus.example.org", 5671, func(r *policy.Rule) {
			r.Addresses = policy.Addresses{Tags: []policy.Tag{{Name: "AzureCloud.northeurope", Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}}}
		}))
	require.False(t, ready)
	c := step(t, pack, "name")
	require.Equal(t, Failed, c.State)
	require.Contains(t, c.Says, "address-not-allowed: the name leads to no address that the rule permits (AzureCloud.northeurope)")
	require.NotEmpty(t, c.Fix)
}

func TestWhatTheRulesRefuseIsNotOpened(t *testing.T) {
	deny := rule(t, "no", "www.example.org", 1, func(r *policy.Rule) {
		r.Name, r.Pack, r.Deny, r.Ports, r.Addresses = "no", "", true, nil, policy.Addresses{}
	})
	pack, _, ready := examined(t, surroundings{names: book{"www.example.org": {"127.0.0.1"}}}, rule(t, "site", "www.example.org", 443, nil), deny)
	require.False(t, ready)
	require.Equal(t, "the rules refuse it for 10.20.0.5: denied-by-rule", step(t, pack, "rules").Says)
	require.Equal(t, "gatehouse explain --client 10.20.0.5 CONNECT www.example.org:443", step(t, pack, "rules").Fix)
	require.Equal(t, NotTried, step(t, pack, "connection").State)
}

func TestAClosedPortIsToldWithWhoCanOpenIt(t *testing.T) {
	_, port := nettest.NewCannedOrigin(t, "", false)
	pack, _, _ := examined(t, surroundings{names: book{"bus.example.org": {"127.0.0.1"}}, o: Options{Step: time.Minute}},
		rule(t, "bus", "bus.example.org", port, func(r *policy.Rule) { r.Protocol = policy.TCP }))
	require.Equal(t, OK, step(t, pack, "connection").State)

	deaf := nettest.Deaf(t)
	closed := rule(t, "bus", "bus.example.org", deaf, func(r *policy.Rule) { r.Protocol = policy.TCP })
	pack, _, ready := examined(t, surroundings{names: book{"bus.example.org": {"127.0.0.1"}}}, closed)
	require.False(t, ready)
	require.Contains(t, step(t, pack, "connection").Says, "refused")
	require.Contains(t, step(t, pack, "connection").Fix, fmt.Sprintf("TCP port %d ", deaf))
}

func TestCertificatesAreVerifiedAndTheirIssuersNamed(t *testing.T) {
	good, filter := nettest.NewAuthority(t, "A good authority"), nettest.NewAuthority(t, "A school's filter")
	now := time.Now()
	for _, c := range []struct {
		name  string
		with  tls.Certificate
		state State
		says  string
	}{
		{"a good one is told with its issuer and end", good.Sign(t, func(l *x509.Certificate) { l.NotAfter = now.Add(60 * 24 * time.Hour) }, "www.example.org"), OK, `issued by "CN=A good authority`},
		{"one of a filter that opens TLS is told with its issuer", filter.Sign(t, nil, "www.example.org"), Failed, `issued by "CN=A school's filter`},
		{"one of another name", good.Sign(t, nil, "www.example.net"), Failed, "the certificate is for another name"},
		{"one that has ended", good.Sign(t, func(l *x509.Certificate) { l.NotBefore, l.NotAfter = now.Add(-48*time.Hour), now.Add(-24*time.Hour) }, "www.example.org"), Failed, "the certificate holds from"},
		{"one that ends soon is worth a word", good.Sign(t, func(l *x509.Certificate) { l.NotAfter = now.Add(24 * time.Hour) }, "www.example.org"), Warning, "issued by"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			s.TLS = &tls.Config{Certificates: []tls.Certificate{c.with}}
			s.Config.ErrorLog = log.New(io.Discard, "", 0)
			s.StartTLS()
			defer s.Close()
			_, text, _ := strings.Cut(s.Listener.Addr().String(), ":")
			port, _ := strconv.Atoi(text)
			pack, _, _ := examined(t, surroundings{roots: good.Roots, now: now, names: book{"www.example.org": {"127.0.0.1"}}},
				rule(t, "site", "www.example.org", port, secure))
			require.Equal(t, c.state, step(t, pack, "certificate").State)
			require.Contains(t, step(t, pack, "certificate").Says, c.says)
		})
	}
}

func TestOnlyWhoAsksForItHasAPOSTSentAndThenWithoutContent(t *testing.T) {
	var bodies atomic.Int32
	posts := make(chan string, 8)
	told := func() (all []string) {
		for len(posts) > 0 {
			all = append(all, <-posts)
		}
		return all
	}
	port := site(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies.Add(int32(len(body)))
		posts <- r.Method + " " + strings.Join(r.TransferEncoding, "")
		if len(r.TransferEncoding) > 0 {
			w.Header().Set("Via", "1.1 parent.example")
			w.WriteHeader(http.StatusLengthRequired)
		}
	})
	s := surroundings{names: book{"www.example.org": {"127.0.0.1"}}}
	_, _, ready := examined(t, s, rule(t, "site", "www.example.org", port, plain))
	require.True(t, ready)
	require.Equal(t, []string{"GET "}, told())

	s.o.Active, s.after = true, hasty
	pack, _, ready := examined(t, s, rule(t, "site", "www.example.org", port, plain))
	require.False(t, ready)
	require.Equal(t, []string{"GET ", "POST ", "POST chunked", "POST chunked"}, told())
	require.Zero(t, bodies.Load())
	require.Equal(t, `answers 411: "1.1 parent.example" does not take it`, step(t, pack, "POST in chunks").Says)
}

// hasty has no patience: what is kept back is sent.
func hasty(_ time.Duration, f func()) (stop func() bool) {
	go f()
	return func() bool { return false }
}

// patient never sends what is kept back but when an answer has come.
func patient(time.Duration, func()) (stop func() bool) { return func() bool { return true } }

func TestNothingOfAnAnswerIsWaitedForButItsHead(t *testing.T) {
	port := site(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusEarlyHints)
		w.Write([]byte("a stream begins"))
		w.(http.Flusher).Flush()
		<-r.Context().Done() // until the doctor goes
	})
	pack, _, ready := examined(t, surroundings{names: book{"www.example.org": {"127.0.0.1"}}, o: Options{Active: true, Step: time.Hour}, after: hasty},
		rule(t, "a", "www.example.org", port, plain))
	require.Equal(t, "answers 200", step(t, pack, "GET").Says, "an interim answer is none")
	require.Contains(t, step(t, pack, "POST in chunks").Says, "answers 200 once the request is whole")
	require.True(t, ready)
}

func TestAPathIsAskedForAsAURLHasIt(t *testing.T) {
	paths := make(chan string, 1)
	glob, err := policy.ParseGlob("/a b")
	require.NoError(t, err)
	port := site(t, func(_ http.ResponseWriter, r *http.Request) { paths <- r.URL.Path })
	pack, _, _ := examined(t, surroundings{names: book{"www.example.org": {"127.0.0.1"}}},
		rule(t, "a", "www.example.org", port, func(r *policy.Rule) { plain(r); r.Paths = []policy.Glob{glob} }))
	require.Equal(t, OK, pack.State, "%+v", pack)
	require.Equal(t, "/a b", <-paths)
}

func TestAClockThatIsWrongIsTold(t *testing.T) {
	port := site(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", noon().Add(-time.Hour).Format(http.TimeFormat))
	})
	_, all, _ := examined(t, surroundings{names: book{"www.example.org": {"127.0.0.1"}}}, rule(t, "site", "www.example.org", port, plain))
	require.Equal(t, "this machine's clock is 1h0m0s off that of www.example.org", all[len(all)-1].Says)
	require.Equal(t, Failed, all[len(all)-1].State)
}

func TestAPlaceThatSeveralRulesPermitIsTriedOnce(t *testing.T) {
	var asked atomic.Int32
	port := site(t, func(http.ResponseWriter, *http.Request) { asked.Add(1) })
	pack, _, ready := examined(t, surroundings{names: book{"www.example.org": {"127.0.0.1"}}},
		rule(t, "a", "www.example.org", port, plain), rule(t, "b", "www.example.org", port, plain))
	require.True(t, ready)
	require.Equal(t, int32(1), asked.Load())
	require.Len(t, pack.Parts, 2)
}

func TestWhereNoNameCanBeResolvedNoneIsTried(t *testing.T) {
	pack, _, ready := examined(t, surroundings{o: Options{NoNames: "no DNS server answers"}, names: book{}}, rule(t, "site", "www.example.org", 443, nil))
	require.False(t, ready)
	require.Equal(t, "not tried, because no DNS server answers", pack.Parts[0].Parts[0].Says)
}

func TestAPackThatIsNotInUseIsToldWithThoseThatAre(t *testing.T) {
	p, err := policy.Compile(policy.Spec{Rules: []policy.Rule{rule(t, "site", "www.example.org", 443, nil)}})
	require.NoError(t, err)
	_, _, err = New(Options{Pack: "xporter"}, Deps{Policy: p, Resolver: book{}}).Requirements(t.Context())
	require.ErrorIs(t, err, ErrNoPack)
	require.ErrorContains(t, err, "in use: pack")
}

func TestManyNamesAreTriedUpToABound(t *testing.T) {
	r := rule(t, "many", "0.example.org", 443, func(r *policy.Rule) { r.Ports = []policy.PortRange{{First: 1000, Last: 2000}} })
	for i := range 300 {
		h, err := policy.ParseHostPattern(strconv.Itoa(i+1) + ".example.org")
		require.NoError(t, err)
		r.Hosts = append(r.Hosts, policy.ListedHost{HostPattern: h})
	}
	pack, _, _ := examined(t, surroundings{names: book{}}, r)
	tried, left := 0, 0
	for _, c := range pack.Parts[0].Parts {
		if c.Way {
			tried++
		} else {
			left++
			require.Equal(t, NotTried, c.State)
		}
	}
	require.Equal(t, mostTargets, tried)
	require.NotZero(t, left)
}

func TestTheReportTellsAWellPlaceInOneLineAndAFailureDownToItsRoot(t *testing.T) {
	way := func(state State, parts ...*Check) *Check {
		return &Check{Name: "www.example.org:443", State: state, Way: true, Parts: parts}
	}
	r := NewReport(noon(), nil,
		Heading("pack a", Heading("a/site", way(OK, Fine("name", "leads to 192.0.2.7"), Fine("connection", "192.0.2.7:443 answers")))),
		Heading("pack b", Heading("b/site", way(Failed, Bad("name", "no answer", "ask others"), Skipped("connection", "name failed")))),
		Suspect("disk", "little is left", "free some"))
	require.Equal(t, Failed, r.State)
	require.Equal(t, `ok     pack a
ok       a/site
ok         www.example.org:443: name leads to 192.0.2.7; connection 192.0.2.7:443 answers
FAILED pack b
FAILED   b/site
FAILED     www.example.org:443
FAILED       name: no answer
               fix: ask others
-            connection: not tried, because name failed
LOOK   disk: little is left
         fix: free some

2 checks are well, 1 failed, 1 to look at, 1 not tried, at 2026-03-04T12:00:00Z
`, r.String())
}
