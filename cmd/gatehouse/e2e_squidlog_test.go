package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"gatehouse/internal/nettest"
)

// The rules and the configuration under which gatehouse and Squid permit the same.
const (
	squidLogRules = `version = 1
[[client]]
name = "here"
from = ["127.0.0.1"]
[[client]]
name   = "staff"
from   = ["127.0.0.9"]
logins = "logins"
[[allow]]
name     = "pages"
hosts    = ["www.example.org"]
ports    = [80, 81, 82]
protocol = "http"
[[allow]]
name     = "tunnels"
hosts    = ["www.example.org"]
ports    = [9000, 9001]
`
	squidLogConf = `http_port %[2]s
visible_hostname gate.example
hosts_file %[1]s/hosts
dns_nameservers 127.0.0.1
auth_param basic program /usr/lib/squid/basic_ncsa_auth %[1]s/logins
acl staff src 127.0.0.9
acl known proxy_auth REQUIRED
acl listed dstdomain www.example.org
http_access deny staff !known
http_access allow listed
http_access deny all
cache deny all
cache_log %[1]s/cache.log
access_log stdio:%[1]s/access.log squid
cache_store_log none
netdb_filename none
pinger_enable off
pid_filename none
coredump_dir %[1]s
shutdown_lifetime 0 seconds
`
)

// pen is a proxy that writes a log in Squid's format.
type pen struct {
	t         *testing.T
	addr, log string
}

// writes asks the proxy as c says and gives the line that it writes about it.
func (p *pen) writes(c squidCase) string {
	p.t.Helper()
	before, _ := os.ReadFile(p.log)
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(c.From)}}
	conn, err := from.Dial("tcp", p.addr)
	require.NoError(p.t, err)
	defer conn.Close()
	require.NoError(p.t, conn.SetDeadline(time.Now().Add(nettest.Patience)))
	_, err = io.WriteString(conn, c.Send)
	require.NoError(p.t, err)
	var got []byte
	for buf := make([]byte, 4096); err == nil && (c.Until == "" || !strings.Contains(string(got), c.Until)); {
		var n int
		n, err = conn.Read(buf)
		got = append(got, buf[:n]...)
	}
	conn.Close()
	var more string
	require.True(p.t, comesTrue(func() bool {
		now, _ := os.ReadFile(p.log)
		more = strings.TrimPrefix(string(now), string(before))
		return strings.HasSuffix(more, "\n")
	}), "no line came for %q, which was answered %q", c.Send, got)
	require.Equal(p.t, 1, strings.Count(more, "\n"), "%s", more)
	return more
}

func newSquidPen(t *testing.T, logins string) *pen {
	const squid = "/usr/sbin/squid"
	_, err := os.Stat(squid)
	need(t, err == nil, "squid is not installed")
	dir, err := os.MkdirTemp("", "squid") // below folders that its own user may pass
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o777))
	p := &pen{t, freeAddresses(t, "127.0.0.78", 1)[0], filepath.Join(dir, "access.log")}
	for name, text := range map[string]string{
		"squid.conf": fmt.Sprintf(squidLogConf, dir, p.addr), "hosts": "127.0.0.2 www.example.org\n", "logins": logins,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	c := exec.Command(squid, "-N", "-f", filepath.Join(dir, "squid.conf"))
	require.NoError(t, c.Start())
	t.Cleanup(sync.OnceFunc(func() { c.Process.Signal(syscall.SIGTERM); c.Wait() }))
	require.True(t, comesTrue(func() bool {
		said, _ := os.ReadFile(filepath.Join(dir, "cache.log"))
		return strings.Contains(string(said), "Accepting HTTP Socket connections")
	}))
	return p
}

func newGatePen(t *testing.T, logins string) *pen {
	g := newGate(t, buildBinary(t), squidLogRules, nettest.NewDNS(t, "www.example.org. 300 IN A 127.0.0.2"))
	g.write(t, "logins", logins)
	text, err := os.ReadFile(g.path("gatehouse.toml"))
	require.NoError(t, err)
	g.write(t, "gatehouse.toml", strings.Replace(string(text), `decisions = "decisions.json"`, "decisions = \"access.log\"\nformat = \"squid\"", 1))
	g.start(t)
	return &pen{t, g.proxy, g.path("access.log")}
}

// squidOrigin is what both proxies ask.
func squidOrigin(t *testing.T) {
	over := make(chan struct{})
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		kind := "text/plain"
		switch r.URL.Path {
		case "/none":
			w.Header()["Content-Type"] = nil
			io.WriteString(w, "hello")
			return
		case "/charset":
			kind = "text/html; charset=utf-8"
		}
		w.Header().Set("Content-Type", kind)
		switch r.URL.Path {
		case "/404":
			w.WriteHeader(http.StatusNotFound)
		case "/204", "/304":
			w.Header().Del("Content-Type")
			w.WriteHeader(map[string]int{"/204": 204, "/304": 304}[r.URL.Path])
			return
		case "/drip":
			io.WriteString(w, "first")
			w.(http.Flusher).Flush()
			select {
			case <-over:
			case <-r.Context().Done():
			}
			return
		}
		io.WriteString(w, "hello")
	}))
	t.Cleanup(func() { close(over); plain.Close() })
	expose(t, "127.0.0.2:80", plain.Listener.Addr().String())
	expose(t, "127.0.0.2:82", plain.Listener.Addr().String())
	amqp, _ := nettest.NewAMQPPeer(t)
	expose(t, "127.0.0.2:9000", amqp)
}

// squidCase is one thing to ask. Ours is what is written otherwise by design: what
// gatehouse has, and what Squid has in its place.
type squidCase struct {
	Name, Send, From string
	Until            string // hang up once this has come; empty: wait for the end
	Ours             []string
	Size             bool // the sizes are the same, too
}

// The first two fields of a line, which no two proxies write alike, in their
// widths; and the fifth, the size, with what is before it.
var (
	squidMoment = regexp.MustCompile(`^\d{10}\.\d{3} ( {5}\d| {4}\d\d| {3}\d{3}| {2}\d{4}| \d{5}|\d{6,}) `)
	squidSize   = regexp.MustCompile(`^(\S+ \S+) \d+ `)
)

func TestEndToEndTheSquidLogIsTheOneThatSquidWrites(t *testing.T) {
	needTools(t)
	text, err := os.ReadFile("testdata/e2e/squidlog.json")
	require.NoError(t, err)
	var cases []squidCase
	require.NoError(t, json.Unmarshal(text, &cases))
	squidOrigin(t)
	secret, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	require.NoError(t, err)
	logins := fmt.Sprintf("anna:%[1]s\na b%%c\"ü:%[1]s\n", secret)
	squid, gate := newSquidPen(t, logins), newGatePen(t, logins)
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			want, got := squid.writes(c), gate.writes(c)
			require.Regexp(t, squidMoment, want)
			require.Regexp(t, squidMoment, got)
			want, got = squidMoment.ReplaceAllString(want, ""), squidMoment.ReplaceAllString(got, "")
			if !c.Size {
				want, got = squidSize.ReplaceAllString(want, "$1 N "), squidSize.ReplaceAllString(got, "$1 N ")
			}
			for i := 0; i+1 < len(c.Ours); i += 2 {
				require.Contains(t, got, c.Ours[i])
				got = strings.Replace(got, c.Ours[i], c.Ours[i+1], 1)
			}
			require.Equal(t, want, got)
		})
	}
}
