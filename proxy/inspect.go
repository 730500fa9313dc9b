package proxy

import (
	"crypto/tls"
	"fmt"
	"net"

	"gatehouse/internal/ca"
	"gatehouse/internal/flow"
	"gatehouse/policy"
	"gatehouse/proxy/leaf"
)

// inspection is what the gate looks inside TLS with.
type inspection struct {
	authority *ca.Authority
	mint      *leaf.Mint
	config    *tls.Config // of the gate's own server, for all hosts
}

// Inspect has the gate look inside the tunnels whose verdict asks for it, with
// certificates of this authority, from the next tunnel on; open ones keep theirs.
// Nil, as before the first call: such tunnels are refused. The error says that
// the authority cannot sign; then everything stays as it was.
func (s *Server) Inspect(a *ca.Authority) error {
	if a == nil {
		s.inspection.Store(nil)
		return nil
	}
	mint, err := leaf.New(a.Issuer(), s.deps.Now)
	if err != nil {
		return err
	}
	s.inspection.Store(&inspection{authority: a, mint: mint, config: &tls.Config{
		Time: s.deps.Now, MinVersion: tls.VersionTLS12, NextProtos: []string{alpnHTTP1},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return hello.Conn.(*disguised).certificate, nil
		},
		// Each write is a record: what the origin sends at once arrives at once.
		DynamicRecordSizingDisabled: true,
	}})
	return nil
}

// alpnHTTP1 is HTTP/1.1 as TLS calls it (RFC 7301, section 6).
const alpnHTTP1 = "http/1.1"

// look makes ready to look inside a tunnel to host, before anybody is told 200.
// Where that cannot be done the tunnel is refused: it is never opened unseen.
func (t *tunnel) look(v policy.Verdict) *refusal {
	host := t.dest.Host
	t.inspection = t.e.server.inspection.Load()
	if t.inspection == nil {
		return uninspected(v, flow.NoAuthority, "it cannot do so here", `its log says what the inspection CA lacks`)
	}
	if !t.inspection.authority.Covers(host.String()) {
		return uninspected(v, flow.NotCovered, fmt.Sprintf("its inspection CA was not made for %s", host), `gatehouse check says for which domains to run gatehouse ca init --rotate; or inspect = "never" in the rule`)
	}
	var err error
	if t.shown, err = t.inspection.mint.Certificate(host); err != nil {
		return uninspected(v, flow.NoAuthority, err.Error(), "gatehouse ca show")
	}
	return nil
}

// uninspected refuses a tunnel that the rules permit only if the gate looks
// inside, and says why it cannot.
func uninspected(v policy.Verdict, fault flow.Fault, why, fix string) *refusal {
	v.Effect, v.Reason = policy.Deny, policy.NoPolicy
	r := refusalFor(v)
	r.why = fmt.Sprintf("The rules permit this host only if the gateway looks inside the encrypted connection, and %s.", why)
	r.fault, r.fix = fault, fix
	return r
}

// disguised is the client's connection as crypto/tls sees it: from its first
// byte, though the gate has read the ClientHello already.
type disguised struct {
	net.Conn
	early       []byte
	certificate *tls.Certificate // to be shown on it
	secured     bool             // the handshake is over
	last        []byte           // of what came before
}

func (d *disguised) Read(p []byte) (n int, err error) {
	if len(d.early) > 0 {
		n = copy(p, d.early)
		if d.early = d.early[n:]; len(d.early) == 0 {
			d.early = nil
		}
	} else {
		n, err = d.Conn.Read(p)
	}
	if !d.secured {
		d.last = append(d.last, p[:n]...)
		d.last = d.last[max(0, len(d.last)-alertRecord):]
	}
	return n, err
}

// alertRecord is the size of a record with an alert that is not encrypted.
const alertRecord = 7

// alert is the alert that came last without encryption, as crypto/tls spells it.
// OpenSSL refuses a certificate of TLS 1.3 that way, with the keys of the handshake
// still to come (RFC 8446, section 6, knows the case), and crypto/tls can no longer
// read it. Anybody could have sent it: it is good for an explanation, no more.
func (d *disguised) alert() (string, bool) {
	const alert, major, fatal = 21, 3, 2
	r := d.last
	if len(r) < alertRecord || r[0] != alert || r[1] != major || r[3] != 0 || r[4] != 2 || r[5] != fatal {
		return "", false
	}
	return tls.AlertError(r[6]).Error(), true
}

// NetConn is the connection itself.
func (d *disguised) NetConn() net.Conn { return d.Conn }
