//go:build linux

package appliance

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"gatehouse/rules"
)

// dotALPN is how DNS over TLS is called where a client names what it wants to speak
// (RFC 7858, section 7).
const dotALPN = "dot"

// nameplate is the certificate that DNS over TLS shows. A nil *nameplate is no DNS
// over TLS.
type nameplate struct {
	log *slog.Logger
	now func() time.Time

	mu    sync.Mutex
	shown *shownPair
}

// newNameplate reads the certificate. One that cannot be used keeps nothing else from
// being served: nobody is over TLS, until there is another in its place.
func (a *Appliance) newNameplate() *nameplate {
	files := a.Config.DNS.Certificate
	if len(a.Config.Listen.DNSTLS) == 0 || len(files) == 0 {
		return nil
	}
	shown, err := newShownPair(rules.TLSFiles{Chain: files[0], Key: files[len(files)-1]}, a.Now())
	if shown.trouble = err; err != nil {
		a.Log.Error("DNS over TLS serves nobody until its certificate can be used; everything else is served", "err", err)
	}
	return &nameplate{log: a.Log, now: a.Now, shown: shown}
}

// polish reads the certificate again where it has changed.
func (n *nameplate) polish() {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	before := n.shown.trouble
	err := n.shown.renew(n.now())
	switch {
	case err != nil && (before == nil || before.Error() != n.shown.trouble.Error()):
		n.log.Error("the certificate of DNS over TLS", "err", err)
	case err == nil && before != nil:
		n.log.Info("the certificate of DNS over TLS can be used")
	}
}

// listen lets TLS be spoken at listeners. Who closes those closes these.
func (n *nameplate) listen(doors []net.Listener) []net.Listener {
	if n == nil {
		return nil
	}
	config := &tls.Config{
		Time: n.now, MinVersion: tls.VersionTLS12, NextProtos: []string{dotALPN},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return n.shown.current.Load(), nil },
	}
	all := slices.Clone(doors)
	for i, ln := range all {
		all[i] = tls.NewListener(ln, config)
	}
	return all
}

// state says what is wrong with the certificate, or soon will be; empty: nothing.
func (n *nameplate) state() string {
	if n == nil {
		return ""
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.shown.trouble != nil {
		return "its certificate cannot be used: " + n.shown.trouble.Error()
	}
	return n.shown.ending(n.now())
}

// certificate is the one that is shown; empty: DNS over TLS is not spoken.
func (n *nameplate) certificate() []doorCertificate {
	if n == nil {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	w := doorCertificate{name: "DNS over TLS"}
	if pair := n.shown.current.Load(); pair != nil {
		w.leaf = pair.Leaf
	}
	if n.shown.trouble != nil {
		w.trouble = fmt.Errorf("its certificate cannot be used: %w", n.shown.trouble)
	}
	return []doorCertificate{w}
}
