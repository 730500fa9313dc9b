package pac

import (
	"flag"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/robertkrimen/otto"
	"github.com/stretchr/testify/require"

	"gatehouse/policy"
	"gatehouse/rules"
)

var update = flag.Bool("update", false, "write the golden files anew")

var day = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

const rulesText = `version = 1

[[client]]
name = "emerge"
from = "10.20.0.5"

[[client]]
name = "devices"
from = "10.30.0.0/16"

[[allow]]
name    = "exam-board"
clients = "emerge"
hosts   = ["www.example.org", "*.cdn.example.org", "g*-prod-*.example.net", "203.0.113.7", "2001:db8::7"]
ports   = [443, "8443-8444"]
addresses = ["public", "203.0.113.7", "2001:db8::7"]

[[allow]]
name    = "for-all"
clients = "any"
hosts   = ["http://plain.example.org/"]

[[allow]]
name    = "over"
hosts   = "over.example.org"
until   = 2026-03-01

[[allow]]
name      = "sql"
clients   = "emerge"
hosts     = ["10.0.0.20", "sql.example.org"]
ports     = 1433
addresses = "private"
via       = "forward"

[[allow]]
name     = "time"
clients  = "emerge"
hosts    = "time.example.org"
ports    = 123
protocol = "udp"
via      = "forward"

[[deny]]
name  = "never"
hosts = ["files.cdn.example.org", "*.school.example"]

[[deny]]
name  = "no-sql-elsewhere"
hosts = "sql.example.org"
ports = 1434
`

func load(t *testing.T) *policy.Policy {
	t.Helper()
	loaded, problems := rules.Load("rules.toml", []byte(rulesText), rules.Env{Now: day})
	require.NotNil(t, loaded, "%v", problems)
	return loaded.Policy
}

func host(t *testing.T, name string) policy.Host {
	h, err := policy.ParseHost(name)
	require.NoError(t, err)
	return h
}

// ask runs the file as a browser does.
func ask(t *testing.T, file []byte, url string) string {
	t.Helper()
	vm := otto.New()
	_, err := vm.Run(file)
	require.NoError(t, err)
	name := regexp.MustCompile(`^[^/]*//(?:[^@/]*@)?(\[[^\]]*\]|[^:/?#]*)`).FindStringSubmatch(url)[1]
	way, err := vm.Call("FindProxyForURL", nil, url, name)
	require.NoError(t, err)
	return way.String()
}

const (
	gate   = "PROXY 10.20.0.1:3128"
	direct = "DIRECT"
)

func TestAProgramFindsItsWay(t *testing.T) {
	p := load(t)
	strict := Options{Proxy: netip.MustParseAddrPort("10.20.0.1:3128"), Client: netip.MustParseAddr("10.20.0.5"), Zones: []policy.Host{host(t, "school.local")}}
	loose := strict
	loose.Direct = true
	for _, test := range []struct {
		name, url   string
		way, orElse string // where what no rule names goes to the proxy, and where it does not
	}{
		{"a listed name", "https://www.example.org/", gate, gate},
		{"a listed name in capitals, with a dot at its end", "https://WWW.Example.ORG./", gate, gate},
		{"a listed name on another listed port", "https://www.example.org:8444/x?y=:1", gate, gate},
		{"a listed name on a port that no rule names", "https://www.example.org:9443/", gate, direct},
		{"a listed name on the usual port of plain HTTP", "http://www.example.org/", gate, direct},
		{"the port behind a login", "https://user:8443@www.example.org:9443/", gate, direct},
		{"a name below a wildcard", "https://a.b.cdn.example.org/", gate, gate},
		{"the wildcard's own name", "https://cdn.example.org/", gate, direct},
		{"a name that only ends like the wildcard", "https://xcdn.example.org/", gate, direct},
		{"stars inside labels", "https://g12-prod-db3.example.net/", gate, gate},
		{"stars do not reach into the next label", "https://g12.x-prod-db3.example.net/", gate, direct},
		{"an address", "https://203.0.113.7/", gate, gate},
		{"another address", "https://203.0.113.8/", gate, direct},
		{"an IPv6 address", "https://[2001:db8::7]/", gate, gate},
		{"a rule for every client", "http://plain.example.org/", gate, gate},
		{"the port of a pasted URL holds", "https://plain.example.org/", gate, direct},
		{"a rule whose day is over", "https://over.example.org/", gate, direct},
		{"a name with a property that every object has", "https://constructor/", direct, direct},
		{"a denied name below a listed wildcard is refused by the gate", "https://files.cdn.example.org/", gate, gate},
		{"a denied name of the LAN is refused by the gate", "https://www.school.example/", gate, gate},
		{"an address that the firewall lets through", "http://10.0.0.20:1433/", direct, direct},
		{"a name that the firewall lets through", "http://sql.example.org:1433/", direct, direct},
		{"a deny of one port leaves the others alone", "http://sql.example.org:1434/", gate, gate},
		{"udp is no way for a program", "http://time.example.org:123/", gate, direct},
		{"a name without a dot", "http://intranet/", direct, direct},
		{"a private address", "http://172.31.0.9/", direct, direct},
		{"an address just outside the private ones", "http://172.32.0.9/", gate, direct},
		{"a unique local address", "http://[fd00::1]/", direct, direct},
		{"a zone of the school's own", "https://mis.school.local/", direct, direct},
		{"a name that only ends like the zone", "https://preschool.local/", gate, direct},
		{"what nobody names", "https://www.example.com/", gate, direct},
		{"a URL that is none", "rubbish//www.example.com", gate, direct},
	} {
		t.Run(test.name, func(t *testing.T) {
			require.Equal(t, test.way, ask(t, File(p, day, strict), test.url))
			require.Equal(t, test.orElse, ask(t, File(p, day, loose), test.url), "with another way out")
		})
	}
}

func TestAClientIsToldOfItsOwnRules(t *testing.T) {
	p := load(t)
	file := func(client string) string {
		return string(File(p, day, Options{Proxy: netip.MustParseAddrPort("[2001:db8::1]:3128"), Client: netip.MustParseAddr(client)}))
	}
	require.Contains(t, file("::ffff:10.20.0.5"), "www.example.org")
	require.NotContains(t, file("10.30.0.1"), "www.example.org")
	require.Contains(t, file("10.30.0.1"), "plain.example.org")
	stranger := file("192.0.2.1")
	require.NotContains(t, stranger, "plain.example.org", "a stranger learns nothing")
	require.Equal(t, "PROXY [2001:db8::1]:3128", ask(t, []byte(stranger), "https://www.example.org/"))
	require.Equal(t, "PROXY [2001:db8::1]:3128", ask(t, File(nil, day, Options{Proxy: netip.MustParseAddrPort("[2001:db8::1]:3128")}), "https://www.example.org/"), "no rules at all")
}

func TestTheFileIsWrittenSoThatOldEnginesReadIt(t *testing.T) {
	file := File(load(t), day, Options{Proxy: netip.MustParseAddrPort("10.20.0.1:3128")})
	path := "testdata/every_client.pac"
	if *update {
		require.NoError(t, os.WriteFile(path, file, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(file))
	for _, young := range []string{"let ", "const ", "=>", "`", ".includes(", ".endsWith("} {
		require.NotContains(t, string(file), young, "JScript, which Windows services use, knows ECMAScript 3 only")
	}
	require.False(t, strings.ContainsFunc(string(file), func(r rune) bool { return r > 126 }), "some readers take the file for Windows-1252")
}
