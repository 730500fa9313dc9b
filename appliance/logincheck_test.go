package appliance

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"gatehouse/appliance/console"
	"gatehouse/internal/nettest"
)

// guardedGate serves an admin listener beyond loopback, with the web configuration that
// write puts in its place.
type guardedGate struct {
	*Appliance
	t     *testing.T
	dir   string
	roots *x509.CertPool
}

func newGuardedGate(t *testing.T) *guardedGate {
	g := &guardedGate{t: t, dir: shortDir(t)}
	g.roots = selfSigned(t, g.dir, login)
	files := Files{Config: filepath.Join(g.dir, "gatehouse.toml"), Rules: filepath.Join(g.dir, "rules.toml")}
	config, problems := ParseConfig(files.Config, []byte("[listen]\nproxy = []\ndns = []\nadmin = \"0.0.0.0:0\"\nweb_config = \"web.yml\"\n[state]\ndir = \"state\"\n"))
	require.Empty(t, problems)
	g.Appliance = New(Options{Files: files, Config: config, Log: quiet(), Stdout: io.Discard})
	require.NoError(t, g.Listen())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	t.Cleanup(func() { cancel(); require.NoError(t, <-ended) })
	require.Equal(t, 401, g.connect()(), "it is served")
	return g
}

// logins puts the rest of a web configuration in its place.
func (g *guardedGate) logins(text string) {
	write(g.t, filepath.Join(g.dir, "web.yml"), webWithTLS+text)
}

// authority puts the authority of client certificates in its place.
func (g *guardedGate) authority(a *nettest.Authority) {
	write(g.t, filepath.Join(g.dir, "clients.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate.Certificate[0]})))
}

// connect opens a connection, which stays open.
func (g *guardedGate) connect(certificates ...tls.Certificate) (ask func() int) {
	at := g.Addresses()["admin"][0]
	conn, err := tls.Dial("tcp", "127.0.0.1"+at[strings.LastIndexByte(at, ':'):], &tls.Config{RootCAs: g.roots, Certificates: certificates})
	require.NoError(g.t, err)
	g.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(nettest.Patience))
	in := bufio.NewReader(conn)
	return func() int {
		_, err := fmt.Fprintf(conn, "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
		require.NoError(g.t, err)
		resp, err := http.ReadResponse(in, nil)
		require.NoError(g.t, err)
		_, err = io.Copy(io.Discard, resp.Body)
		require.NoError(g.t, err)
		require.Equal(g.t, resp.StatusCode == http.StatusMisdirectedRequest, resp.Close, "who is turned away is to connect again")
		return resp.StatusCode
	}
}

const byCertificate = "  client_ca_file: clients.pem\n  client_auth_type: RequireAndVerifyClientCert\n"

func clientCertificate(t *testing.T, a *nettest.Authority, name string) tls.Certificate {
	return a.Sign(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, name)
}

func TestAnOpenConnectionIsWorthNoMoreThanItsCertificateIsNow(t *testing.T) {
	t.Parallel()
	g := newGuardedGate(t)
	school, other := nettest.NewAuthority(t, "school"), nettest.NewAuthority(t, "other")
	stranger := g.connect() // while a password was asked for
	require.Equal(t, 401, stranger())
	g.authority(school)
	g.logins(byCertificate)
	require.Equal(t, 421, stranger(), "its handshake asked for no certificate")

	admin := g.connect(clientCertificate(t, school, "desk.school.example"))
	require.Equal(t, 200, admin())
	g.logins(byCertificate + "  client_allowed_sans: [\"desk.school.example\"]\n")
	require.Equal(t, 200, admin())
	g.logins(byCertificate + "  client_allowed_sans: [\"other.school.example\"]\n")
	require.Equal(t, 421, admin(), "its name is no longer among those that may come")

	g.logins(byCertificate)
	admin = g.connect(clientCertificate(t, school, "desk.school.example"))
	require.Equal(t, 200, admin())
	g.authority(other)
	require.Equal(t, 421, admin(), "its authority is no longer trusted")
}

// The toolkit has read a file that was half-written, without its users, and let the
// request through; by now the file is whole.
func TestWhoCameThroughWhileTheLoginsWereWrittenIsStillAsked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	hash := func(password string) string {
		text, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		require.NoError(t, err)
		return string(text)
	}
	file := filepath.Join(dir, "web.yml")
	write(t, file, "basic_auth_users:\n  admin: "+hash("one")+"\n")
	l := &loginCheck{web: webConfig(file), now: time.Now, next: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	ask := func(user, password string) int {
		r := httptest.NewRequest("GET", "/", nil)
		if user != "" {
			r.SetBasicAuth(user, password)
		}
		w := httptest.NewRecorder()
		l.ServeHTTP(w, r)
		return w.Code
	}
	require.Equal(t, 401, ask("", ""))
	require.Equal(t, 401, ask("admin", "two"))
	require.Equal(t, 401, ask("nobody", "one"))
	for range 2 {
		require.Equal(t, 200, ask("admin", "one"))
	}
	write(t, file, "basic_auth_users:\n  admin: "+hash("two")+"\n")
	require.Equal(t, 401, ask("admin", "one"))
	require.Equal(t, 200, ask("admin", "two"))
	write(t, file, "basic_auth_users: [")
	require.Equal(t, 503, ask("admin", "two"))
}

func TestNothingIsShownLiveAfterALoginWasTakenAway(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]func(g *guardedGate){
		"another password":       func(g *guardedGate) { g.logins("basic_auth_users:\n  other" + login[len("admin"):] + "\n") },
		"another authority":      func(g *guardedGate) { g.authority(nettest.NewAuthority(g.t, "other")) },
		"a file that is no YAML": func(g *guardedGate) { g.logins("{") },
	} {
		t.Run(what, func(t *testing.T) {
			g := newGuardedGate(t)
			g.authority(nettest.NewAuthority(t, "school"))
			g.logins(byCertificate + "basic_auth_users:\n  " + login + "\n")
			o, err := window{g.Appliance}.Follow(console.Filter{}, "")
			require.NoError(t, err)
			defer o.Close()
			g.book.Record(kept(1))
			list, _, err := o.Next(t.Context())
			require.NoError(t, err)
			require.Len(t, list, 1)
			change(g)
			g.book.Record(kept(2))
			list, _, err = o.Next(t.Context())
			require.ErrorIs(t, err, errLogins)
			require.Empty(t, list)
		})
	}
}
