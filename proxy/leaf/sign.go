package leaf

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"

	"gatehouse/policy"
)

// A leaf is good from a day ago, for the clocks of schools, for seven days in
// all. That makes it a short-lived one in the sense of the CA/Browser Forum's
// Baseline Requirements, which need no word on revocation, and is far below the
// 825 and 398 days beyond which Apple's and other systems refuse a certificate.
const (
	behind = 24 * time.Hour
	ahead  = 6 * 24 * time.Hour
)

// longestCommonName is RFC 5280's ub-common-name.
const longestCommonName = 64

// signer is a CA and the one key of all its leaves. A key of its own for each
// host would protect nothing: it would lie in the same memory as the key that
// can sign any of them.
type signer struct {
	issuer *x509.Certificate
	with   crypto.Signer
	chain  [][]byte // intermediates, sent behind each leaf
	key    *ecdsa.PrivateKey
	keyID  []byte
}

func newSigner(issuer tls.Certificate) (signer, error) {
	var s signer
	var ok bool
	if s.with, ok = issuer.PrivateKey.(crypto.Signer); !ok || len(issuer.Certificate) == 0 {
		return s, errors.New("the inspection CA has no certificate, or no key that signs")
	}
	for i, der := range issuer.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return s, fmt.Errorf("read the inspection CA's certificate: %w", err)
		}
		if i == 0 {
			s.issuer = c
		}
		if !bytes.Equal(c.RawIssuer, c.RawSubject) { // a root is what clients have
			s.chain = append(s.chain, der)
		}
	}
	if public, ok := s.issuer.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(s.with.Public()) {
		return s, errors.New("the inspection CA's key is not that of its certificate")
	}
	var err error
	if s.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return s, fmt.Errorf("make the key of the leaf certificates: %w", err)
	}
	public, err := s.key.PublicKey.Bytes()
	if err != nil {
		return s, fmt.Errorf("make the key of the leaf certificates: %w", err)
	}
	id := sha256.Sum256(public) // RFC 7093, section 2, method 1
	s.keyID = id[:20]
	return s, nil
}

// sign makes the certificate of one host.
func (s *signer) sign(host policy.Host, now time.Time) (*tls.Certificate, error) {
	template, err := s.template(host, now)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, s.issuer, &s.key.PublicKey, s.with)
	if err != nil {
		return nil, fmt.Errorf("sign a certificate for %s: %w", host, err)
	}
	return &tls.Certificate{Certificate: append([][]byte{der}, s.chain...), PrivateKey: s.key}, nil
}

func (s *signer) template(host policy.Host, now time.Time) (*x509.Certificate, error) {
	from, to := now.Add(-behind), now.Add(ahead)
	if from.Before(s.issuer.NotBefore) {
		from = s.issuer.NotBefore
	}
	if to.After(s.issuer.NotAfter) {
		to = s.issuer.NotAfter
	}
	if now.Before(from) || now.After(to) {
		return nil, fmt.Errorf("the inspection CA is valid from %s to %s, and not now",
			s.issuer.NotBefore.UTC().Format(time.RFC3339), s.issuer.NotAfter.UTC().Format(time.RFC3339))
	}
	serial := make([]byte, 16)
	rand.Read(serial) // never fails
	serial[0] = serial[0]&0x7f | 0x40
	c := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial), NotBefore: from, NotAfter: to,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, SubjectKeyId: s.keyID,
	}
	// A common name is for people who look at the certificate. An address is none:
	// OpenSSL would hold it against the name constraints of the CA.
	c.Subject = pkix.Name{Organization: []string{"Gatehouse inspection"}}
	switch name := host.String(); {
	case host.IsIP():
		c.IPAddresses = []net.IP{host.Addr().AsSlice()}
	case len(name) <= longestCommonName:
		c.Subject.CommonName = name
		fallthrough
	default:
		c.DNSNames = []string{name}
	}
	return c, nil
}
