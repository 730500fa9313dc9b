package appliance

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/exporter-toolkit/web"
	"golang.org/x/crypto/bcrypt"

	"gatehouse/internal/wholefile"
)

// requiredCertificate is the client_auth_type by which a client certificate is a login.
const requiredCertificate = "RequireAndVerifyClientCert"

// loginCheck lets through who is logged in by the web configuration as it is now. The
// toolkit before it asks first, but reads the file by itself: one that is half-written
// just then has no users in it yet, and lets everybody through. And it judges a client
// certificate once for a connection, which may stay open for days, and not at all which
// names may come (client_allowed_sans) where TLS is taken up again by a ticket.
type loginCheck struct {
	web  webConfig
	now  func() time.Time
	next http.Handler

	mu    sync.Mutex
	known map[[sha256.Size]byte]bool // passwords that were found right, with user and hash
}

// mostKnown bounds the passwords that are known: to find one right costs a twentieth of
// a second on purpose.
const mostKnown = 100

func (l *loginCheck) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	c, err := l.web.read()
	if err != nil {
		http.Error(rw, err.Error()+"; repair the file, then try again", http.StatusServiceUnavailable)
		return
	}
	if err := l.certificate(&c, r); err != nil {
		rw.Header().Set("Connection", "close")
		http.Error(rw, "the certificate that this connection showed opens nothing any more ("+err.Error()+"); connect again", http.StatusMisdirectedRequest)
		return
	}
	if len(c.Users) > 0 && !l.password(&c, r) {
		rw.Header().Set("WWW-Authenticate", "Basic")
		http.Error(rw, http.StatusText(http.StatusUnauthorized), http.StatusUnauthorized)
		return
	}
	l.next.ServeHTTP(rw, r)
}

// certificate judges the client certificate of a connection as its handshake would now.
func (l *loginCheck) certificate(c *web.Config, r *http.Request) error {
	if c.TLSConfig.ClientAuth != requiredCertificate {
		return nil
	}
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return errors.New("it showed none")
	}
	roots, err := l.web.clientRoots(c)
	if err != nil {
		return err
	}
	shown := r.TLS.PeerCertificates
	between := x509.NewCertPool()
	for _, more := range shown[1:] {
		between.AddCert(more)
	}
	_, err = shown[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: l.now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err == nil && c.TLSConfig.ClientAllowedSans != nil {
		err = c.TLSConfig.VerifyPeerCertificate([][]byte{shown[0].Raw}, nil)
	}
	return err
}

// clientRoots are the authorities of client certificates; nil: those of the system, as
// package tls has it.
func (w webConfig) clientRoots(c *web.Config) (*x509.CertPool, error) {
	text, err := w.clientCAs(c)
	if len(text) == 0 {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text) // one without certificates trusts nobody
	return roots, nil
}

// clientCAs is the text of the authorities; empty: none are named.
func (w webConfig) clientCAs(c *web.Config) ([]byte, error) {
	path := c.TLSConfig.ClientCAs
	if path == "" {
		return []byte(c.TLSConfig.ClientCAsText), nil
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(string(w)), path)
	}
	text, err := wholefile.Read(path, mostText)
	if err == nil && len(text) == 0 {
		err = fmt.Errorf("%s is empty", path)
	}
	return text, err
}

// password reports whether a request has the password of its user.
func (l *loginCheck) password(c *web.Config, r *http.Request) bool {
	user, password, ok := r.BasicAuth()
	hash, listed := c.Users[user]
	if !ok || !listed {
		return false
	}
	is := sha256.Sum256([]byte(fmt.Sprintf("%q %q %q", user, string(hash), password)))
	l.mu.Lock()
	defer l.mu.Unlock() // one at a time, for the same reason as the toolkit's
	if l.known[is] {
		return true
	}
	if bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) != nil {
		return false
	}
	if l.known == nil || len(l.known) >= mostKnown {
		l.known = map[[sha256.Size]byte]bool{}
	}
	l.known[is] = true
	return true
}

// state tells whether anything has changed about who may log in, or may have; empty
// where nobody needs to.
func (w webConfig) state() string {
	if w == "" {
		return ""
	}
	text, err := wholefile.Read(string(w), mostText)
	c, readErr := w.read()
	authorities, caErr := w.clientCAs(&c)
	return strings.Join([]string{digest(text), digest(authorities), fmt.Sprint(errors.Join(err, readErr, caErr))}, " ")
}
