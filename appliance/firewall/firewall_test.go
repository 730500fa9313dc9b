package firewall

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/policy"
	"gatehouse/rules"
)

var start = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// bench is a firewall whose kernel writes down what it is given.
type bench struct {
	*Firewall
	t    *testing.T
	now  time.Time
	text []string // what was loaded since the last look
	fail error
	cuts int
	stay func(Flow) bool
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, now: start}
	b.Firewall = New(Deps{
		Load: func(_ context.Context, text string) error {
			if b.fail == nil {
				b.text = append(b.text, text)
			}
			return b.fail
		},
		Cut: func(stay func(Flow) bool) (int, error) { b.cuts++; b.stay = stay; return 1, nil },
		Now: func() time.Time { return b.now },
	})
	return b
}

// loaded is what was loaded since the last look.
func (b *bench) loads() (text string) {
	text = strings.Join(b.text, "---\n")
	b.text = nil
	return text
}

func (b *bench) renew(p *policy.Policy) {
	b.t.Helper()
	require.NoError(b.t, b.Renew(context.Background(), Plan{Clients: p.Permitted(b.now)}, p))
}

// answer pins what a name was answered with.
func (b *bench) answer(p *policy.Policy, name, addr string, ttl time.Duration) {
	b.t.Helper()
	h, err := policy.ParseHost(name)
	require.NoError(b.t, err)
	v, permit := p.Query(policy.Query{At: b.now, Client: netip.MustParseAddr("10.20.0.5"), Name: h})
	require.True(b.t, v.Allowed(), v.Reason)
	v, permit = p.Answer(policy.Answer{At: b.now, Permit: permit, Addr: netip.MustParseAddr(addr)})
	require.True(b.t, v.Allowed(), v.Reason)
	require.NoError(b.t, b.Pin(context.Background(), []policy.Permit{permit}, b.now.Add(ttl)))
}

func compile(t *testing.T, text string) *policy.Policy {
	t.Helper()
	loaded, problems := rules.Load("rules.toml", []byte("version = 1\n"+text), rules.Env{Now: start})
	require.NotNil(t, loaded, "%v", problems)
	return loaded.Policy
}

const bus = `
[[allow]]
name    = "bus"
clients = "10.20.0.0/16"
hosts   = "*.bus.example.org"
ports   = [443, "9350-9354"]
protocol = "tcp"
via     = "forward"
`

func TestAPinLivesAsLongAsTheAnswerAndTheGrace(t *testing.T) {
	b, p := newBench(t), compile(t, bus)
	b.answer(p, "a.bus.example.org", "203.0.114.7", time.Minute)
	require.Empty(t, b.loads(), "nothing is loaded yet")
	b.renew(p)
	require.Contains(t, b.loads(), "set pins1_4")
	b.renew(p)
	require.Empty(t, b.loads(), "nothing has changed")

	b.answer(p, "a.bus.example.org", "203.0.114.7", time.Minute)
	require.Equal(t, "add element inet gatehouse pins1_4 { 203.0.114.7 . tcp . 443 timeout 360s }\n"+
		"add element inet gatehouse pins1_4 { 203.0.114.7 . tcp . 9350-9354 timeout 360s }\n", b.loads())
	require.Equal(t, 2, b.Pins())

	b.now = b.now.Add(time.Minute)
	b.answer(p, "a.bus.example.org", "203.0.114.7", time.Minute)
	require.Empty(t, b.loads(), "what stands long enough is not written again")

	b.now = b.now.Add(3 * time.Minute)
	b.answer(p, "a.bus.example.org", "203.0.114.7", time.Minute)
	text := b.loads()
	require.Contains(t, text, "delete element inet gatehouse pins1_4 { 203.0.114.7 . tcp . 443 }\n")
	require.Contains(t, text, "add element inet gatehouse pins1_4 { 203.0.114.7 . tcp . 443 timeout 360s }\n")
	require.Less(t, strings.Index(text, "443 timeout 1s"), strings.Index(text, "delete"), "what has run out a moment ago is not there to be deleted")

	b.now = b.now.Add(7 * time.Minute)
	require.Zero(t, b.Pins())
	require.Zero(t, b.cuts, "a flow outlives its pin")
}

func TestTheWholeRulesetKeepsWhatIsOpen(t *testing.T) {
	b, p := newBench(t), compile(t, bus)
	b.renew(p)
	b.answer(p, "a.bus.example.org", "203.0.114.7", time.Minute)
	b.loads()
	wider := compile(t, bus+"[[allow]]\nname = \"web\"\nhosts = \"www.example.org\"\nports = 8443\nprotocol = \"tls\"\n")
	b.now = b.now.Add(time.Minute)
	require.NoError(t, b.Renew(context.Background(), Plan{Clients: wider.Permitted(b.now), Ports: wider.RelayedPorts(b.now)}, wider))
	text := b.loads()
	require.True(t, strings.Contains(text, "delete table inet gatehouse") && strings.Contains(text, "8443"))
	require.Contains(t, text, "203.0.114.7 . tcp . 9350-9354 timeout 300s")
	require.Zero(t, b.cuts)
}

func TestWhatIsNoLongerPermittedIsClosedAndItsFlowsAreCut(t *testing.T) {
	flow := func(client, to string) Flow {
		return Flow{netip.MustParseAddr(client), netip.MustParseAddrPort(to), policy.TCP}
	}
	ended := strings.Replace(bus, "via ", "until = 2026-03-04T12:30:00Z\nvia ", 1)
	for _, test := range []struct {
		name   string
		before string
		change func(b *bench) *policy.Policy
	}{
		{"the rule is gone", bus, func(b *bench) *policy.Policy {
			return compile(t, "[[allow]]\nname=\"o\"\nclients=\"10.20.0.0/16\"\nhosts=\"o.example.org\"\n")
		}},
		{"a deny closes a port", bus, func(b *bench) *policy.Policy {
			return compile(t, bus+"[[deny]]\nname=\"no\"\nhosts=\"a.bus.example.org\"\nports=9352\n")
		}},
		{"the rule's day ends", ended, func(b *bench) *policy.Policy { b.now = start.Add(time.Hour); return b.policy }},
		{"the rule names other clients", bus, func(b *bench) *policy.Policy {
			return compile(t, strings.Replace(bus, "10.20.0.0/16", "10.20.7.0/24", 1)+"[[client]]\nname=\"c\"\nfrom=\"10.20.0.0/16\"\n")
		}},
		{"its addresses are others (a file of Azure's)", bus, func(b *bench) *policy.Policy { return compile(t, bus+"addresses = \"198.51.99.0/24\"\n") }},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, p := newBench(t), compile(t, test.before)
			b.renew(p)
			b.answer(p, "a.bus.example.org", "203.0.114.7", time.Hour)
			b.loads()
			after := test.change(b)
			require.NoError(t, b.Renew(context.Background(), Plan{Clients: []netip.Prefix{netip.MustParsePrefix("10.20.0.0/16")}}, after))
			text := b.loads()
			require.Contains(t, text, "delete table inet gatehouse")
			if !strings.Contains(text, "10.20.7.0/24") { // else it is open to others
				require.NotContains(t, text, "203.0.114.7 . tcp . 9352")
				require.NotContains(t, text, "203.0.114.7 . tcp . 9350-9354")
			}
			require.Equal(t, 1, b.cuts)
			require.False(t, b.stay(flow("10.20.0.5", "203.0.114.7:9352")))
			require.True(t, b.stay(flow("192.168.9.9", "203.0.114.7:9352")), "no client of ours")
		})
	}
}

func TestAClientThatIsNoneAnyMoreLosesItsFlows(t *testing.T) {
	b, p := newBench(t), compile(t, bus)
	b.renew(p)
	b.answer(p, "a.bus.example.org", "203.0.114.7", time.Hour)
	b.renew(compile(t, "[[allow]]\nname=\"o\"\nclients=\"10.44.0.0/16\"\nhosts=\"o.example.org\"\n"))
	require.Equal(t, 1, b.cuts)
	to := netip.MustParseAddrPort("203.0.114.7:9352")
	require.False(t, b.stay(Flow{netip.MustParseAddr("10.20.0.5"), to, policy.TCP}), "no rule names it now")
	require.True(t, b.stay(Flow{netip.MustParseAddr("192.168.9.9"), to, policy.TCP}), "never a client of ours")
}

func TestATableThatSomebodyElseTakesAwayIsPutBackWithItsPins(t *testing.T) {
	b, p := newBench(t), compile(t, bus)
	stands := "table 1"
	b.deps.Table = func(context.Context) (string, error) { return stands, nil }
	b.renew(p)
	require.Zero(t, b.cuts, "what an earlier process left has stood all the time")
	b.answer(p, "a.bus.example.org", "203.0.114.7", time.Hour)
	b.loads()
	b.renew(p)
	require.Empty(t, b.loads(), "it stands as it was loaded")

	for cuts, other := range []string{"", "table 2"} {
		stands = other
		b.deps.Load = func(_ context.Context, text string) error {
			b.text, stands = append(b.text, text), "table of ours"
			return nil
		}
		b.renew(p)
		text := b.loads()
		require.Contains(t, text, "delete table inet gatehouse")
		require.Contains(t, text, "203.0.114.7 . tcp . 9350-9354 timeout")
		require.True(t, b.Loaded())
		require.Equal(t, cuts+1, b.cuts)
		require.False(t, b.stay(Flow{netip.MustParseAddr("192.168.9.9"), netip.MustParseAddrPort("203.0.114.9:22"), policy.TCP}),
			"a stranger who came through while nothing stood in the way")
		require.True(t, b.stay(Flow{netip.MustParseAddr("10.20.0.5"), netip.MustParseAddrPort("203.0.114.7:9352"), policy.TCP}))
		b.renew(p)
		require.Empty(t, b.loads())
	}

	b.deps.Load = func(context.Context, string) error { stands = ""; return nil }
	stands = ""
	require.ErrorContains(t, b.Renew(context.Background(), Plan{}, p), "somebody else takes it away")
	require.False(t, b.Loaded())
}

func TestAFlowThatIsStillPermittedStays(t *testing.T) {
	both := bus + strings.Replace(bus, `"bus"`, `"second"`, 1)
	both = strings.Replace(both, "*.bus.example.org\"\nports   = [443, \"9350-9354\"]\nprotocol = \"tcp\"\nvia     = \"forward\"\n\n[[allow]]\nname    = \"second\"", "b.bus.example.org\"\nports   = [443, \"9350-9354\"]\nprotocol = \"tcp\"\nvia     = \"forward\"\n\n[[allow]]\nname    = \"second\"", 1)
	b, p := newBench(t), compile(t, both)
	b.renew(p)
	b.answer(p, "a.bus.example.org", "203.0.114.7", time.Minute)
	b.answer(p, "b.bus.example.org", "203.0.114.8", time.Minute)
	b.now = b.now.Add(time.Hour) // the pins have run out; flows that began in time go on
	after := compile(t, strings.Replace(bus, "*.bus", "b.bus", 1))
	b.renew(after)
	require.Equal(t, 1, b.cuts)
	client := netip.MustParseAddr("10.20.0.5")
	require.True(t, b.stay(Flow{client, netip.MustParseAddrPort("203.0.114.8:9352"), policy.TCP}), "what it was answered is remembered")
	require.False(t, b.stay(Flow{client, netip.MustParseAddrPort("203.0.114.8:9352"), policy.UDP}))
	require.False(t, b.stay(Flow{client, netip.MustParseAddrPort("203.0.114.8:9399"), policy.TCP}))
	require.False(t, b.stay(Flow{client, netip.MustParseAddrPort("203.0.114.7:9352"), policy.TCP}))
}

func TestAFirewallThatCannotBeLoadedOpensNothing(t *testing.T) {
	b, p := newBench(t), compile(t, bus)
	b.fail = errors.New("no")
	require.Error(t, b.Renew(context.Background(), Plan{}, p))
	require.False(t, b.Loaded())
	b.fail = nil
	b.answer(p, "a.bus.example.org", "203.0.114.7", time.Minute)
	require.Empty(t, b.loads())
	b.renew(p)
	require.True(t, b.Loaded())
}

func TestTheSetsAreBounded(t *testing.T) {
	b, p := newBench(t), compile(t, bus)
	b.renew(p)
	for i := range mostPins / 2 { // two runs of ports each
		addr := netip.AddrFrom4([4]byte{20, 1, byte(i >> 8), byte(i)})
		b.kernel[Slot{0, addr, policy.TCP}] = []deadline{{until: b.now.Add(time.Minute)}, {until: b.now.Add(time.Minute)}}
	}
	permit := func(addr string) policy.Permit {
		h, _ := policy.ParseHost("a.bus.example.org")
		_, permit := p.Query(policy.Query{At: b.now, Client: netip.MustParseAddr("10.20.0.5"), Name: h})
		_, permit = p.Answer(policy.Answer{At: b.now, Permit: permit, Addr: netip.MustParseAddr(addr)})
		return permit
	}
	b.loads()
	err := b.Pin(context.Background(), []policy.Permit{permit("203.0.114.7")}, b.now.Add(time.Minute))
	require.ErrorIs(t, err, ErrFull)
	require.Empty(t, b.loads())
	b.now = b.now.Add(2 * time.Minute)
	require.NoError(t, b.Pin(context.Background(), []policy.Permit{permit("203.0.114.7")}, b.now.Add(time.Minute)))
	require.NotEmpty(t, b.loads(), "what has run out makes room")
}

func TestWhatNftSaysIsToldWithTheFix(t *testing.T) {
	for said, want := range map[string]string{
		"Operation not permitted (you must be root)\nnetlink: Error":          "CAP_NET_ADMIN",
		"netlink: Error: cache initialization failed: Protocol not supported": "this kernel has no nftables",
		"/dev/stdin:3:1-2: Error: syntax error\nmore":                         "nft: /dev/stdin:3:1-2: Error: syntax error",
		"": "nft: exit status 1",
	} {
		require.Contains(t, inWords(said, errors.New("exit status 1")).Error(), want)
	}
	t.Setenv("PATH", t.TempDir())
	require.ErrorContains(t, CheckInterfaces(Plan{WAN: []string{"nowhere7"}}), `firewall.wan: there is no interface "nowhere7" on this machine; it has `)
	require.NoError(t, CheckInterfaces(Plan{LAN: []string{"lo"}}))
}
