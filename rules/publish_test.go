package rules

import (
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/policy"
)

// way is a rules file with one way in.
func way(clauses string) string {
	return "version = 1\n[[client]]\nname = \"devices\"\nfrom = [\"10.30.0.0/16\"]\n[[publish]]\nname = \"emerge\"\nclients = \"devices\"\n" + clauses
}

const plainWay = "listen = \"10.20.0.1:8080\"\nto = \"http://10.20.0.5\"\n"

func loaded(t *testing.T, text string) *Loaded {
	t.Helper()
	l, problems := Load("/etc/gatehouse/rules.toml", []byte(text), testEnv(t))
	require.NotNil(t, l, "%v", problems)
	return l
}

func TestWhatAPublishMeans(t *testing.T) {
	l := loaded(t, way(plainWay))
	require.Empty(t, l.Problems)
	require.Len(t, l.Publishes, 1)
	p := l.Publishes[0]
	require.Equal(t, "10.20.0.5:80", p.To.String())
	require.False(t, p.Secure)
	require.Equal(t, []string{"GET", "POST", "PUT"}, p.Methods)
	require.Nil(t, p.Paths)
	require.EqualValues(t, 64<<20, p.MaxBody)
	require.Equal(t, []netip.AddrPort{netip.MustParseAddrPort("10.20.0.1:8080")}, p.Listen)
	require.Nil(t, p.TLS)
	require.Equal(t, 5, p.Line)

	p = loaded(t, way(`listen = [":8443", "[2001:db8::1]:0", "0.0.0.0:81"]
to = "https://emerge.school.local/"
methods = "GET"
paths = "/api/*"
tls = "tls/emerge.pem"
max_body = 0
`)).Publishes[0]
	require.Equal(t, "emerge.school.local:443", p.To.String())
	require.True(t, p.Secure)
	require.Equal(t, []string{"GET"}, p.Methods)
	require.Equal(t, "/api/*", p.Paths[0].String())
	require.EqualValues(t, 0, p.MaxBody)
	require.Equal(t, "[::]:8443 [2001:db8::1]:0 0.0.0.0:81", p.Listen[0].String()+" "+p.Listen[1].String()+" "+p.Listen[2].String())
	require.Equal(t, &TLSFiles{filepath.FromSlash("/etc/gatehouse/tls/emerge.pem"), filepath.FromSlash("/etc/gatehouse/tls/emerge.pem")}, p.TLS)
	require.Equal(t, &TLSFiles{filepath.FromSlash("/etc/gatehouse/a.crt"), "/b.key"}, loaded(t, way(plainWay+"tls = [\"a.crt\", \"/b.key\"]\n")).Publishes[0].TLS)
	require.Nil(t, loaded(t, way(plainWay+"tls = false\n")).Publishes[0].TLS)
}

func TestHowMuchMayBeSent(t *testing.T) {
	for text, want := range map[string]int64{
		"1000": 1000, `"1000"`: 1000, `"1 KiB"`: 1024, `"64kb"`: 64 << 10, `"1.5 MB"`: 3 << 19, `"2GiB"`: 2 << 30, `"0"`: 0, `"7 b"`: 7,
	} {
		require.Equal(t, want, loaded(t, way(plainWay+"max_body = "+text+"\n")).Publishes[0].MaxBody, text)
	}
	for _, text := range []string{`""`, `"MiB"`, `"-1"`, `"1 TiB"`, `"NaN"`, `"inf"`, `"1e300 GiB"`, "1.5", "true", "[1]"} {
		l, problems := Load("rules.toml", []byte(way(plainWay+"max_body = "+text+"\n")), testEnv(t))
		require.Nil(t, l, text)
		require.Contains(t, []string{"GH010", "GH007"}, problems[0].Code, text)
	}
}

func TestWhatListensInAnothersWay(t *testing.T) {
	at := netip.MustParseAddrPort
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"10.20.0.1:80", "10.20.0.1:80", true}, {"10.20.0.1:80", "10.20.0.1:81", false}, {"10.20.0.1:80", "10.20.0.2:80", false},
		{"0.0.0.0:80", "10.20.0.1:80", true}, {"[::]:80", "10.20.0.1:80", true}, {"0.0.0.0:80", "[2001:db8::1]:80", false},
		{"[::ffff:10.20.0.1]:80", "10.20.0.1:80", true}, {"127.0.0.1:0", "127.0.0.1:0", false},
	} {
		require.Equal(t, c.same, sameDoor(at(c.a), at(c.b)), "%s %s", c.a, c.b)
		require.Equal(t, c.same, sameDoor(at(c.b), at(c.a)), "%s %s", c.b, c.a)
	}
}

// A test bed may publish a server on its own machine.
func TestAPublishMayLeadWhereTreatAsPublicSays(t *testing.T) {
	env := testEnv(t)
	env.TreatAsPublic = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	l, problems := Load("rules.toml", []byte(way("listen = \"127.0.0.1:8080\"\nto = \"http://127.0.0.1:9000\"\n")), env)
	require.NotNil(t, l, "%v", problems)
	require.Equal(t, policy.Matched, ask(t, l, "10.30.0.7", "PUBLISH emerge /").Reason)
}

func TestAProposalForAPublish(t *testing.T) {
	text := way("listen = \"10.20.0.1:8080\"\nto = \"http://10.20.0.5\"\npaths = [\"/api/*\"]\n")
	for _, c := range []struct {
		client, target string
		line           int
		text           string
	}{
		{"10.30.0.7", "PUBLISH emerge DELETE /api/x", 5, "[[publish]]\nmethods = [\"GET\", \"POST\", \"PUT\", \"DELETE\"]"},
		{"10.30.0.7", "PUBLISH emerge /other", 10, `paths = ["/api/*", "/other"]`},
		{"127.0.0.1", "PUBLISH emerge /api/x", 7, `clients = ["devices", "127.0.0.1"]`},
		{"10.30.0.7", "PUBLISH another /api/x", 0, ""},
	} {
		l := loaded(t, text)
		q, err := ParseTarget(c.target)
		require.NoError(t, err)
		q.Client, q.At = netip.MustParseAddr(c.client), testNow
		p, ok := Propose("rules.toml", []byte(text), q, l.Policy.Explain(q))
		require.Equal(t, c.text != "", ok, c.target)
		require.Equal(t, Proposal{c.line, c.text}, p, c.target)
	}
}

func TestChangesOfWaysIn(t *testing.T) {
	base := loaded(t, way(plainWay+"paths = [\"/a\", \"/b\"]\n"))
	none := loaded(t, "version = 1\n[[client]]\nname = \"devices\"\nfrom = [\"10.30.0.0/16\"]\n[[pack]]\nname = \"heartbeat\"\n")
	require.Contains(t, Changes(none, base), "publish emerge is new: devices may reach http://10.20.0.5:80 through 10.20.0.1:8080")
	require.Contains(t, Changes(base, none), "publish emerge goes away")
	for clauses, says := range map[string]string{
		plainWay + "paths = [\"/a\"]\n":         "publish emerge is narrowed: paths -/b",
		plainWay:                                "publish emerge is widened: paths -/a -/b",
		plainWay + "paths = [\"/a\", \"/c\"]\n": "publish emerge changes: paths +/c -/b",
		plainWay + "paths = [\"/a\", \"/b\"]\nmax_body = \"1 GiB\"\n":                                            "publish emerge is widened: max_body +1 GiB -64 MiB",
		plainWay + "paths = [\"/a\", \"/b\"]\nmethods = \"GET\"\n":                                               "publish emerge is narrowed: methods -POST -PUT",
		plainWay + "paths = [\"/a\", \"/b\"]\ntls = \"x.pem\"\n":                                                 "publish emerge changes: tls +/etc/gatehouse/x.pem",
		"listen = \"10.20.0.1:8080\"\nto = \"http://10.20.0.6\"\npaths = [\"/a\", \"/b\"]\n":                     "publish emerge changes: to +http://10.20.0.6:80 -http://10.20.0.5:80",
		"listen = [\"10.20.0.1:8080\", \"10.20.0.1:81\"]\nto = \"http://10.20.0.5\"\npaths = [\"/a\", \"/b\"]\n": "publish emerge is widened: listen +10.20.0.1:81",
	} {
		require.Equal(t, []string{says}, Changes(base, loaded(t, way(clauses))))
	}
	require.Empty(t, Changes(base, base))
}

func TestAReviewTellsOfWaysIn(t *testing.T) {
	l := loaded(t, way(plainWay)+"[[allow]]\nname = \"emerge\"\nclients = \"devices\"\nhosts = \"www.example.org\"\n")
	book := &Book{}
	book.add([]byte(`{"ts":"2026-11-01T08:00:00Z","surface":"publish","rule":"emerge","verdict":"allowed","reason":"matched","end":"done"}`))
	v := l.Review("rules.toml", testNow, time.Hour, book)
	require.Len(t, v.Rules, 2)
	p := v.Rules[1]
	require.Equal(t, "publish emerge", p.Kind+" "+p.Name)
	require.Equal(t, []string{"devices"}, p.Clients)
	require.Equal(t, []string{"http://10.20.0.5:80"}, p.Hosts)
	require.Equal(t, []string{"listen 10.20.0.1:8080", "methods GET, POST, PUT", "max_body 64 MiB"}, p.How)
	require.Equal(t, 1, p.Uses)
	require.Zero(t, v.Rules[0].Uses, "the allow of that name is another")
}

// Whoever is permitted only to come in may also go out where rules are for everybody,
// or where none is enforced.
func TestAPublishThatOpensAWayOut(t *testing.T) {
	const open, named = "[[allow]]\nname = \"a\"\nhosts = \"www.example.org\"\n", "[[allow]]\nname = \"b\"\nclients = \"devices\"\nhosts = \"www.example.org\"\n"
	monitor := func(text string) string { return strings.Replace(text, "\n", "\nmode = \"monitor\"\n", 1) }
	for name, c := range map[string]struct {
		text  string
		warns string
	}{
		"a group that only publishes name":    {way(plainWay) + open, "the rule \"a\" (line"},
		"no rule for everybody":               {way(plainWay), ""},
		"a group that an allow names":         {way(plainWay) + named + open, ""},
		"in monitor mode":                     {monitor(way(plainWay)), "in monitor mode whatever a permitted client asks for passes"},
		"in monitor mode that has ended":      {strings.Replace(monitor(way(plainWay)), "mode", "monitor_until = 2020-01-01\nmode", 1), ""},
		"in monitor mode, named by an allow":  {monitor(way(plainWay) + named), ""},
		"a group that is there without it":    {strings.Replace(way(plainWay), "clients = \"devices\"", "clients = \"10.30.0.0/24\"", 1) + open, ""},
		"an address that only publishes name": {strings.Replace(way(plainWay), "clients = \"devices\"", "clients = \"10.31.0.0/24\"", 1) + open, "the rule \"a\" (line"},
	} {
		t.Run(name, func(t *testing.T) {
			var told []string
			for _, p := range loaded(t, c.text).Problems {
				if p.Code == "GH121" {
					told = append(told, p.Message)
				}
			}
			if c.warns == "" {
				require.Empty(t, told)
				return
			}
			require.Len(t, told, 1)
			require.Contains(t, told[0], c.warns)
		})
	}
}
