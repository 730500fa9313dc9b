package trust

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"time"

	"golang.org/x/crypto/ocsp"

	"gatehouse/policy"
)

// mostSessions bounds the hosts whose TLS sessions are kept for resumption.
const mostSessions = 2048

// Client opens TLS to origins. New makes one; it is safe for concurrent use.
type Client struct{ config *tls.Config }

// New makes a Client that trusts these roots, nil for the system's. now is the
// clock, nil for time.Now.
func New(roots *x509.CertPool, now func() time.Time) *Client {
	return &Client{config: &tls.Config{
		RootCAs: roots, Time: now, MinVersion: tls.VersionTLS12,
		NextProtos:         []string{"http/1.1"},
		ClientSessionCache: tls.NewLRUClientSessionCache(mostSessions),
		VerifyConnection:   unrevoked,
		// One record for one write: smaller ones at the start would help a
		// browser that paints what it has, and cost a system call each.
		DynamicRecordSizingDisabled: true,
	}}
}

// Handshake opens TLS to host over a connection that leads there. Where it
// fails the error is a *Fault, and closing conn is the caller's as before.
func (c *Client) Handshake(ctx context.Context, conn *net.TCPConn, host policy.Host) (*Conn, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err // of a nil connection
	}
	s := &Conn{wire: &wire{TCPConn: conn, raw: raw}, host: host}
	config := c.config.Clone()
	config.ServerName = host.String()
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		s.demanded = true
		return new(tls.Certificate), nil // none: who wants one for certain will say so
	}
	s.Conn = tls.Client(s.wire, config)
	if err := s.HandshakeContext(ctx); err != nil {
		return nil, s.fault(err)
	}
	return s, nil
}

// unrevoked looks at the stapled OCSP response (RFC 6066, section 8), also that
// of a session that is resumed. One that is missing, late or unreadable says
// nothing, as everywhere; a revocation holds however old the word of it is.
func unrevoked(s tls.ConnectionState) error {
	if len(s.OCSPResponse) == 0 || len(s.VerifiedChains) == 0 || len(s.VerifiedChains[0]) < 2 {
		return nil
	}
	leaf, issuer := s.VerifiedChains[0][0], s.VerifiedChains[0][1]
	word, err := ocsp.ParseResponseForCert(s.OCSPResponse, leaf, issuer)
	if err == nil && word.Status == ocsp.Revoked {
		return &revocation{leaf: leaf, at: word.RevokedAt}
	}
	return nil
}

// revocation says that an issuer has taken a certificate back.
type revocation struct {
	leaf *x509.Certificate
	at   time.Time
}

func (r *revocation) Error() string { return "the certificate was revoked" }
