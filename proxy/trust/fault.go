package trust

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
	"unicode"

	"gatehouse/internal/flow"
)

// Fault is why TLS to an origin did not come about.
type Fault struct {
	Cause flow.Fault
	// Why is a sentence that names the host, the issuer where there is one, and
	// the reason. It has no control characters and is of bounded length.
	Why string
	// Fix is what an administrator can do; empty where nobody but the origin can.
	Fix string
	err error
}

// Error implements error.
func (f *Fault) Error() string { return f.Why }

// Unwrap is what crypto/tls said.
func (f *Fault) Unwrap() error { return f.err }

// fault puts an error of crypto/tls into words.
func (c *Conn) fault(err error) *Fault {
	var ours *Fault
	if errors.As(err, &ours) {
		return ours
	}
	var revoked *revocation
	var invalid *tls.CertificateVerificationError
	switch {
	case errors.As(err, &revoked):
		return &Fault{flow.Revoked, c.certificate(revoked.leaf) + " was revoked on " + day(revoked.at) + ".", "", err}
	case errors.As(err, &invalid) && len(invalid.UnverifiedCertificates) > 0:
		return c.distrust(invalid.UnverifiedCertificates[0], invalid.Err)
	}
	alert, said := Alert(err)
	switch {
	case c.demanded && said:
		return &Fault{flow.ClientCertificate, fmt.Sprintf("%s demands that the client shows a certificate, which cannot be done where the gateway looks inside.", c.host),
			`inspect = "never" in the rule for the host`, err}
	case said && alert == noApplicationProtocol:
		return &Fault{flow.HandshakeRefused, fmt.Sprintf("%s does not speak HTTP/1.1, the protocol in which the gateway looks inside.", c.host),
			`inspect = "never" in the rule for the host`, err}
	case said:
		return &Fault{flow.HandshakeRefused, fmt.Sprintf("%s refused the TLS handshake: %s.", c.host, Plain(alert)), "", err}
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return &Fault{flow.HandshakeTimeout, fmt.Sprintf("%s did not complete the TLS handshake in time.", c.host), "", err}
	}
	return &Fault{flow.NoHandshake, fmt.Sprintf("%s did not complete a TLS handshake (%s).", c.host, Plain(err.Error())), "", err}
}

// distrust says what is wrong with a certificate.
func (c *Conn) distrust(leaf *x509.Certificate, err error) *Fault {
	var invalid x509.CertificateInvalidError
	var hostname x509.HostnameError
	var unknown x509.UnknownAuthorityError
	own := bytes.Equal(leaf.RawIssuer, leaf.RawSubject)
	const trust = "if it is right all the same, put its issuer's certificate into the file that tls.ca_file names"
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return c.outOfTime(invalid.Cert, leaf, err)
	case errors.As(err, &hostname):
		return &Fault{flow.WrongHost, c.certificate(leaf) + " is for another name: " + names(leaf) + ".", "", err}
	case errors.As(err, &unknown) && weak(leaf):
		return &Fault{flow.BadCertificate, c.certificate(leaf) + fmt.Sprintf(" is signed by a method that can be forged (%s).", leaf.SignatureAlgorithm), "", err}
	case errors.As(err, &unknown) && own:
		return &Fault{flow.SelfSigned, c.certificate(leaf) + " is self-signed: nobody the gateway trusts vouches for it.", trust, err}
	case errors.As(err, &unknown):
		return &Fault{flow.UnknownIssuer, c.certificate(leaf) + " comes from an issuer the gateway does not trust, or without the certificates that lead to one it does.", trust, err}
	}
	return &Fault{flow.BadCertificate, c.certificate(leaf) + " cannot be verified: " + Plain(err.Error()) + ".", "", err}
}

// weak reports a signature that nobody takes any more, whoever made it: x509 calls
// its issuer unknown.
func weak(leaf *x509.Certificate) bool {
	switch leaf.SignatureAlgorithm {
	case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1:
		return true
	}
	return false
}

// outOfTime tells expired from not yet valid; the certificate may be that of an
// issuer.
func (c *Conn) outOfTime(which, leaf *x509.Certificate, err error) *Fault {
	what := c.certificate(leaf)
	if which != nil && !which.Equal(leaf) {
		what = fmt.Sprintf("The certificate of %q, which vouches for %s,", Plain(which.Subject.String()), c.host)
	}
	if which == nil {
		which = leaf
	}
	// x509 tells the two apart in its text alone: this is its own comparison.
	if strings.Contains(err.Error(), "is before") {
		return &Fault{flow.NotYetValid, what + " is not valid before " + day(which.NotBefore) + ".", "check the clock of the gateway", err}
	}
	return &Fault{flow.Expired, what + " expired on " + day(which.NotAfter) + ".", "only the site itself can renew it; if it is not the only one, check the clock of the gateway", err}
}

// certificate names the certificate of the host.
func (c *Conn) certificate(leaf *x509.Certificate) string {
	return fmt.Sprintf("The certificate of %s, issued by %q,", c.host, Plain(leaf.Issuer.String()))
}

// names are the first names a certificate is for.
func names(leaf *x509.Certificate) string {
	list := leaf.DNSNames
	for _, ip := range leaf.IPAddresses {
		list = append(list, ip.String())
	}
	if len(list) == 0 {
		return "none"
	}
	const enough = 5
	if len(list) > enough {
		list = append(list[:enough:enough], "and others")
	}
	return Plain(strings.Join(list, ", "))
}

func day(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04 MST") }

// Plain makes text from the wire fit to be shown: printable, and not too long.
func Plain(s string) string {
	const most = 200
	s = strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// noApplicationProtocol is how crypto/tls spells that alert (RFC 7301).
var noApplicationProtocol = tls.AlertError(120).Error()

// Alert is the alert with which the peer ended a TLS connection, as crypto/tls
// spells it.
func Alert(err error) (string, bool) {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		return "", false
	}
	return op.Err.Error(), true
}
