package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// certificateSoon is how long before its end a certificate is worth a word.
const certificateSoon = 14 * 24 * time.Hour

// handshake opens TLS, verifies who answers, and says who vouched for it.
func (w *way) handshake(ctx context.Context) *Check {
	host := w.t.dest.Host.String()
	secure := tls.Client(w.line.Conn, &tls.Config{ServerName: host, RootCAs: w.d.Roots, MinVersion: tls.VersionTLS12, Time: w.d.Now})
	w.line.Conn = secure
	err := secure.HandshakeContext(ctx)
	if err == nil {
		return w.vouched(secure.ConnectionState().PeerCertificates[0])
	}
	var untrusted *tls.CertificateVerificationError
	if !errors.As(err, &untrusted) || len(untrusted.UnverifiedCertificates) == 0 {
		return Bad("", "no TLS: "+err.Error(), "see whether something on the way answers in the place of "+host)
	}
	leaf := untrusted.UnverifiedCertificates[0]
	by := leaf.Issuer.String()
	var (
		unknown x509.UnknownAuthorityError
		invalid x509.CertificateInvalidError
		name    x509.HostnameError
	)
	switch {
	case errors.As(err, &unknown):
		return Bad("", fmt.Sprintf("the certificate is issued by %q, whom nobody here trusts", by),
			"where a filter of the school opens TLS, exempt this host there, or name its root in tls.ca_file")
	case errors.As(err, &name):
		return Bad("", "the certificate is for another name: "+err.Error(), "something on the way answers in the place of "+host)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return Bad("", fmt.Sprintf("the certificate holds from %s to %s, and here it is %s", leaf.NotBefore.Format(time.DateOnly),
			leaf.NotAfter.Format(time.DateOnly), w.d.Now().Format(time.DateOnly)), "see that this machine's clock is right; else tell the vendor")
	}
	return Bad("", "the certificate of "+by+" does not hold: "+err.Error(), "tell the vendor")
}

func (w *way) vouched(leaf *x509.Certificate) *Check {
	says := fmt.Sprintf("issued by %q, until %s", leaf.Issuer.String(), leaf.NotAfter.Format(time.DateOnly))
	if leaf.NotAfter.Sub(w.d.Now()) < certificateSoon {
		return Suspect("", says, "tell the vendor that it ends soon")
	}
	return Fine("", says)
}
