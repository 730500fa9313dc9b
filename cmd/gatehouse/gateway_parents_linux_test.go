package main

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
)

// county is a school's parent proxy in the test. It may tell what it was asked for
// when that is over; after its end it has told all.
type county struct {
	asked func() string
	end   func()
}

func (c county) wasAsked(t *testing.T, what string, times int) {
	t.Helper()
	require.True(t, comesTrue(func() bool { return strings.Count(c.asked(), what) == times }), "%s: %s", what, c.asked())
}

const parentAt = elseAddr // of the origins' network: they reach each other without the gate

// landParents has the gate go through a parent that is not there, and then through
// one that wants a login; spare is the same one asked by name.
const landParents = `
[[upstream]]
name = "dead"
url  = "http://203.0.113.9:9"
[[upstream]]
name = "county"
url  = "http://gate:sesame@203.0.113.9:8080"
[[upstream]]
name    = "names"
url     = "http://gate:sesame@203.0.113.9:8080"
connect = "name"
[[upstream]]
name = "stranger"
url  = "http://gate:wrong@203.0.113.9:8080"
`

const landParentRules = landBus + `
[[allow]]
name    = "relay"
clients = "lan"
hosts   = "relay.example.org"
ports   = %d
protocol = "http"
[[allow]]
name    = "by-name"
clients = "lan"
hosts   = "named.example.org"
ports   = 9352
parent  = "names"
[[allow]]
name    = "past-it"
clients = "lan"
hosts   = "pins.example.org"
ports   = 9352
parent  = "direct"
[[allow]]
name      = "region"
clients   = "lan"
hosts     = ["away.example.org"]
ports     = 9352
addresses = "203.0.113.7"
[[allow]]
name      = "region-by-name"
clients   = "lan"
hosts     = ["away-by-name.example.org"]
ports     = 9352
addresses = "203.0.113.7"
parent    = "names"
[[allow]]
name    = "wrong-login"
clients = "lan"
hosts   = "stranger.example.org"
ports   = 9352
parent  = "stranger"
`

// TestGatewayThroughParents: gatehouse in the path, behind a parent proxy that alone
// reaches the bus.
func TestGatewayThroughParents(t *testing.T) {
	for name, start := range map[string]func(*land, *nettest.ServiceBus) county{"a double": startDouble, "Debian's squid": startSquid} {
		t.Run(name, func(t *testing.T) { throughParents(newLand(t, ""), start) })
	}
}

func throughParents(l *land, start func(*land, *nettest.ServiceBus) county) {
	t := l.t
	var relay *nettest.ServiceBus
	l.Origin.In(func() { relay = nettest.NewServiceBus(t, "relay.example.org") })
	l.Origin.Echo("80", "9352")
	parent := start(l, relay)
	// Nobody but the parent reaches the bus: not even the gate.
	l.Origin.Sh("nft 'add table inet only; add chain inet only input { type filter hook input priority 0; }; " +
		"add rule inet only input iif eth0 meta nfproto ipv6 tcp dport 1-65535 drop; add rule inet only input iif eth0 ip daddr " + busAddr + " tcp dport 1-65535 drop'")
	zone := append([]string{}, landZone...)
	for name, addr := range map[string]string{"named": busAddr, "relay": busAddr, "away": elseAddr, "away-by-name": elseAddr, "stranger": busAddr} {
		zone = append(zone, name+".example.org. 60 IN A "+addr)
	}
	l.upstream.Zone(t, zone...)
	l.write("gatehouse.toml", l.config()+landParents)
	l.write("rules.toml", landClients+fmt.Sprintf(landParentRules, relay.Port))
	l.start()
	tunnel := func(host, answer string) net.Conn {
		t.Helper()
		conn, err := l.exchange(nettest.GateLAN, "3128", fmt.Sprintf("CONNECT %[1]s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", host), answer)
		require.NoError(t, err, "%s\n%s", host, l.said)
		return conn
	}
	carries := func(conn net.Conn) {
		t.Helper()
		require.NoError(t, sayAndHear(conn, amqp, amqp))
		conn.Close()
	}
	const opened = "HTTP/1.1 200 Connection established\r\n\r\n"

	t.Run("a request, past the one that is not there", func(t *testing.T) {
		_, err := l.exchange(nettest.GateLAN, "3128", strings.Replace(get, "/", "http://bus.example.org/", 1), "HTTP/1.1 200 OK\r\n")
		require.NoError(t, err, "%s", l.said)
		parent.wasAsked(t, "GET http://bus.example.org/", 1)
		require.Equal(t, 1, l.metric(`gatehouse_parent_failures_total{cause="unreachable",parent="dead"}`))
	})
	t.Run("a tunnel, by the address that was judged", func(t *testing.T) {
		carries(tunnel("bus.example.org:9352", opened))
		parent.wasAsked(t, "CONNECT ["+busAddr6+"]:9352", 1) // IPv6 is tried first
	})
	t.Run("a redirected connection, by the address too", func(t *testing.T) {
		l.ask("bus.example.org")
		l.reaches(busAddr, "9352", amqp).Close()
		parent.wasAsked(t, "CONNECT "+busAddr+":9352", 1) // the one that the client wanted
	})
	t.Run("a tunnel, by name", func(t *testing.T) {
		carries(tunnel("named.example.org:9352", opened))
		parent.wasAsked(t, "CONNECT named.example.org:9352", 1)
	})
	t.Run("past the parent, where the rule says so", func(t *testing.T) {
		carries(tunnel("pins.example.org:9352", opened))
	})
	t.Run("what leads elsewhere than the rule permits is refused, by address and by name", func(t *testing.T) {
		tunnel("away.example.org:9352", "HTTP/1.1 403 ")
		tunnel("away-by-name.example.org:9352", "HTTP/1.1 403 ")
		require.True(t, comesTrue(func() bool { return strings.Count(l.book(), `"reason":"address-not-allowed"`) == 2 }), "%s", l.book())
	})
	t.Run("a wrong login is named, and its 407 kept back", func(t *testing.T) {
		tunnel("stranger.example.org:9352", "HTTP/1.1 502 ")
		require.Equal(t, 1, l.metric(`gatehouse_parent_failures_total{cause="login",parent="stranger"}`))
	})
	t.Run("Service Bus in both directions at once, and nobody is accused", func(t *testing.T) {
		var err error
		l.Client.In(func() { err = nettest.WebStream("10.99.1.1:3128", fmt.Sprintf("relay.example.org:%d", relay.Port)) })
		require.NoError(t, err, "%s", l.said)
		require.NotContains(t, l.said.String(), "buffering")
	})
	parent.end()
	for _, never := range []string{"pins.example.org", pinAddr, "away", elseAddr} {
		require.NotContains(t, parent.asked(), never)
	}
}

// startDouble starts the parent of the tests' own.
func startDouble(l *land, relay *nettest.ServiceBus) county {
	var mu sync.Mutex
	var asked strings.Builder
	names := map[string]string{
		"bus.example.org:80": busAddr + ":80", "named.example.org:9352": busAddr + ":9352",
		fmt.Sprintf("relay.example.org:%d", relay.Port): relay.Addr,
	}
	nettest.Parent{
		Dial: func(address string) (net.Conn, error) { return l.Origin.Dial("tcp", cmp.Or(names[address], address)) },
		Answer: func(r *http.Request) string {
			if user, password, ok := basicLogin(r); !ok || user != "gate" || password != "sesame" {
				return "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=county\r\nContent-Length: 0\r\n\r\n"
			}
			mu.Lock()
			defer mu.Unlock()
			fmt.Fprintln(&asked, r.Method, r.RequestURI)
			return ""
		},
	}.Serve(l.t, l.Origin.Listen(parentAt+":8080"))
	return county{func() string { mu.Lock(); defer mu.Unlock(); return asked.String() }, func() {}}
}

func basicLogin(r *http.Request) (user, password string, ok bool) {
	r = &http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}
	return r.BasicAuth()
}

// squidConf is a parent of a county: it wants a login, and knows names by a file.
const squidConf = `http_port 203.0.113.9:8080
visible_hostname county.example
auth_param basic program /usr/lib/squid/basic_ncsa_auth %[1]s/logins
acl known proxy_auth REQUIRED
http_access allow known
http_access deny all
hosts_file %[1]s/hosts
dns_nameservers 127.0.0.1
cache deny all
cache_log %[1]s/cache.log
logformat asked %%rm %%ru
access_log stdio:%[1]s/asked.log asked
cache_store_log none
netdb_filename none
pinger_enable off
pid_filename none
coredump_dir %[1]s
shutdown_lifetime 0 seconds
`

func startSquid(l *land, relay *nettest.ServiceBus) county {
	t := l.t
	squid := "/usr/sbin/squid"
	if _, err := os.Stat(squid); err != nil {
		t.Fatal("the test is required, and squid is not installed")
	}
	dir, err := os.MkdirTemp("", "squid") // below folders that its own user may pass
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o777))
	for name, text := range map[string]string{
		"squid.conf": fmt.Sprintf(squidConf, dir),
		"hosts":      busAddr + " bus.example.org named.example.org\n127.0.0.1 relay.example.org\n",
		"logins":     "gate:$apr1$r31.....$a6/Rq/OKO5khzPaG4GUN10\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	c := exec.Command(squid, "-N", "-f", filepath.Join(dir, "squid.conf"))
	l.Origin.In(func() { err = c.Start() })
	require.NoError(t, err)
	end := sync.OnceFunc(func() { c.Process.Signal(syscall.SIGTERM); c.Wait() })
	t.Cleanup(end)
	read := func(name string) string {
		text, _ := os.ReadFile(filepath.Join(dir, name))
		return string(text)
	}
	require.True(t, comesTrue(func() bool {
		conn, err := l.Gate.Dial("tcp", parentAt+":8080")
		if err == nil {
			conn.Close()
		}
		return err == nil
	}), "%s", read("cache.log"))
	return county{func() string { return read("asked.log") }, end}
}
