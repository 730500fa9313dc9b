package nettest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

// Authority is a certificate authority of a test.
type Authority struct {
	tls.Certificate                // its Leaf is filled in
	Roots           *x509.CertPool // trusts it
}

// NewAuthority makes an authority that is good for the day.
func NewAuthority(t testing.TB, name string) *Authority {
	t.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	a := &Authority{Certificate: signed(t, template, nil), Roots: x509.NewCertPool()}
	a.Roots.AddCert(a.Leaf)
	return a
}

// Sign makes a server's certificate for names and addresses, for the day; change,
// where it is not nil, makes something else of it.
func (a *Authority) Sign(t testing.TB, change func(*x509.Certificate), names ...string) tls.Certificate {
	t.Helper()
	return signed(t, leafTemplate(change, names), &a.Certificate)
}

// SelfSigned is a server's certificate that nobody vouches for.
func SelfSigned(t testing.TB, change func(*x509.Certificate), names ...string) tls.Certificate {
	t.Helper()
	return signed(t, leafTemplate(change, names), nil)
}

// Revoke staples the word that c, a leaf of this authority, has been revoked.
func (a *Authority) Revoke(t testing.TB, c tls.Certificate, at time.Time) tls.Certificate {
	t.Helper()
	word, err := ocsp.CreateResponse(a.Certificate.Leaf, a.Certificate.Leaf, ocsp.Response{
		Status: ocsp.Revoked, SerialNumber: c.Leaf.SerialNumber, RevokedAt: at, ThisUpdate: at, NextUpdate: at.Add(7 * 24 * time.Hour),
	}, a.PrivateKey.(crypto.Signer))
	if err != nil {
		t.Fatalf("make an OCSP response: %v", err)
	}
	c.OCSPStaple = word
	return c
}

func leafTemplate(change func(*x509.Certificate), names []string) *x509.Certificate {
	c := &x509.Certificate{
		Subject: pkix.Name{CommonName: "test origin"}, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, n)
		}
	}
	if change != nil {
		change(c)
	}
	return c
}

// signed makes a key, and a certificate of it under an issuer; nil: itself.
func signed(t testing.TB, template *x509.Certificate, issuer *tls.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatalf("make a key: %v", err)
	}
	now := time.Now()
	if template.NotBefore.IsZero() {
		template.NotBefore = now.Add(-time.Hour)
	}
	if template.NotAfter.IsZero() {
		template.NotAfter = now.Add(24 * time.Hour)
	}
	template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatalf("make a serial number: %v", err)
	}
	parent, by := template, crypto.PrivateKey(key)
	var chain [][]byte
	if issuer != nil {
		parent, by, chain = issuer.Leaf, issuer.PrivateKey, issuer.Certificate
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		t.Fatalf("make a certificate: %v", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatalf("read the certificate back: %v", err)
	}
	return tls.Certificate{Certificate: append([][]byte{der}, chain...), PrivateKey: key, Leaf: leaf}
}
