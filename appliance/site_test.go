package appliance

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
)

// site is a whole appliance on loopback, with an origin and an upstream DNS
// server of its own.
type site struct {
	*Appliance
	t      *testing.T
	dir    string
	origin *httptest.Server
	port   string // of the origin
	echo   string // port of a server that sends back what it gets
	dns    *nettest.DNS
	log    *locked // decisions
	said   *locked
	hangup chan os.Signal
	ahead  atomic.Int64  // of the clock, how far the appliance's own is
	drain  time.Duration // of the next start
	stop   func() error  // ends the appliance; what Run returned
}

// locked is a buffer that several goroutines may use.
type locked struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.String()
}

const siteConfig = `
[listen]
proxy   = "127.0.0.1:0"
dns     = "127.0.0.1:0"
admin   = "127.0.0.1:0"
metrics = "127.0.0.1:0"
pac     = "127.0.0.1:0"
[dns]
upstreams = "%s"
[addresses]
treat_as_public = "127.0.0.0/8"
[limits]
dial = "30s"
[state]
dir = "state"
`

// rulesText is the site's rules file; PORT and ECHO are filled in.
const rulesText = `version = 1

[[client]]
name = "here"
from = "127.0.0.0/8"

[[allow]]
name     = "updates"
hosts    = "www.groupcall.test"
ports    = PORT
protocol = "http"
methods  = "GET"
types    = { "*.inf" = "text/plain" , "*" = "any" }

[[allow]]
name  = "relay"
hosts = "relay.groupcall.test"
ports = ECHO
`

func (s *site) fill(text string) string {
	return strings.NewReplacer("PORT", s.port, "ECHO", s.echo).Replace(text)
}

func newSite(t *testing.T, rules string) *site {
	t.Helper()
	s := &site{t: t, dir: shortDir(t), log: &locked{}, said: &locked{}, hangup: make(chan os.Signal, 1), drain: 2 * time.Second}
	s.origin = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		if strings.HasPrefix(r.URL.Path, "/html") {
			w.Header().Set("Content-Type", "text/html")
		}
		io.WriteString(w, "[version]\n")
	}))
	t.Cleanup(s.origin.Close)
	_, s.port, _ = net.SplitHostPort(s.origin.Listener.Addr().String())
	s.echo = echo(t)
	s.dns = nettest.NewDNS(t, "www.groupcall.test. 60 IN A 127.0.0.1", "relay.groupcall.test. 60 IN A 127.0.0.1")
	write(t, filepath.Join(s.dir, "gatehouse.toml"), fmt.Sprintf(siteConfig, s.dns.Addr))
	if rules != "" {
		write(t, filepath.Join(s.dir, "rules.toml"), s.fill(rules))
	}
	s.start()
	return s
}

// echo starts a server that sends back what it gets.
func echo(t *testing.T) (port string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				io.Copy(conn, conn)
			})
		}
	})
	t.Cleanup(func() { ln.Close(); all.Wait() })
	_, port, _ = net.SplitHostPort(ln.Addr().String())
	return port
}

// configure adds to gatehouse.toml, and starts the appliance anew.
func (s *site) configure(text string) {
	require.NoError(s.t, s.stop())
	path := filepath.Join(s.dir, "gatehouse.toml")
	had, err := os.ReadFile(path)
	require.NoError(s.t, err)
	write(s.t, path, string(had)+text)
	s.start()
}

// shortDir is a folder whose name leaves room for that of a socket, which may
// have 107 octets in all: t.TempDir's name holds the test's.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "gatehouse")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

// now is the appliance's clock.
func (s *site) now() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }

// start starts the appliance from its files; it is stopped with the test.
func (s *site) start() {
	files, err := Locate(filepath.Join(s.dir, "gatehouse.toml"), "")
	require.NoError(s.t, err)
	config, problems, err := files.ReadConfig()
	require.NoError(s.t, err)
	require.Empty(s.t, problems)
	logger := newTestLogger(s.said)
	s.Appliance = New(Options{Files: files, Config: config, Log: logger, Stdout: s.log, Hangup: s.hangup, Drain: s.drain, Now: s.now,
		Build: Build{Version: "test", Revision: "test", Go: "test"}})
	require.NoError(s.t, s.Listen())
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	s.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	s.t.Cleanup(func() { require.NoError(s.t, s.stop()) })
	s.healthy()
}

// healthy waits until the admin listener answers.
func (s *site) healthy() {
	status, _ := s.admin("GET", "/healthz") // the kernel queues the connection until Run serves it
	require.Equal(s.t, 200, status)
}

func (s *site) address(of string) string { return s.Addresses()[of][0] }

// admin asks the admin listener.
func (s *site) admin(method, path string) (status int, body string) {
	return s.ask(method, "http://"+s.address("admin")+path, nil)
}

func (s *site) ask(method, target string, proxy func(*http.Request) (*url.URL, error)) (status int, body string) {
	s.t.Helper()
	transport := &http.Transport{Proxy: proxy, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequest(method, target, nil)
	require.NoError(s.t, err)
	resp, err := (&http.Client{Transport: transport, Timeout: 20 * time.Second}).Do(req)
	require.NoError(s.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(s.t, err)
	return resp.StatusCode, string(text)
}

// get asks for a path of the origin, through the gate.
func (s *site) get(path string) (status int, body string) {
	s.t.Helper()
	return s.ask("GET", "http://www.groupcall.test:"+s.port+path, http.ProxyURL(&url.URL{Scheme: "http", Host: s.address("proxy")}))
}

// connect opens a tunnel and gives what the gate answered.
func (s *site) connect(target string) (net.Conn, *bufio.Reader, *http.Response) {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.address("proxy"))
	require.NoError(s.t, err)
	s.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target)
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, &http.Request{Method: "CONNECT"})
	require.NoError(s.t, err)
	return conn, in, resp
}

func (s *site) query(name string) *dns.Msg {
	s.t.Helper()
	m := new(dns.Msg).SetQuestion(name, dns.TypeA)
	r, _, err := (&dns.Client{Timeout: 20 * time.Second}).Exchange(m, s.address("dns"))
	require.NoError(s.t, err)
	return r
}

func (s *site) setRules(text string) {
	s.t.Helper()
	path := filepath.Join(s.dir, "rules.toml")
	write(s.t, path+".new", s.fill(text))
	require.NoError(s.t, os.Rename(path+".new", path))
}

// account waits for a decision, which is written down after the client has its
// answer.
func (s *site) account(id string) (a Account) {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		var err error
		a, err = NewControl(filepath.Join(s.dir, "state")).Decision(s.t.Context(), id)
		return err == nil
	}, nettest.Patience, 5*time.Millisecond, "nothing is known of %s", id)
	return a
}

// reload puts rules in the file's place and into force, before the watcher can.
func (s *site) reload(rules string) (status int, body string) {
	s.t.Helper()
	s.trial.alone(func() {
		s.setRules(rules)
		status, body = s.admin("POST", "/-/reload")
	})
	return status, body
}
