// Package keypair reads a TLS certificate with its private key from files, and
// says what is wrong with them in words that help. It serves nothing, and does
// not know whether anybody trusts the certificate.
package keypair

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"
)

// mostBytes bounds a file: the longest chains take a few tens of kilobytes.
const mostBytes = 1 << 20

// Parse makes a certificate of a PEM file that holds its chain, the server's own
// first, and of one that holds its key; the two may be one. now is the moment at
// which it is to be valid. The error says what is wrong, and how to mend what is
// often wrong with files that come from Windows.
func Parse(chain, key []byte, now time.Time) (*tls.Certificate, error) {
	pair, err := parse(chain, key, now)
	switch {
	case err != nil:
		return nil, err
	case !usable(pair.Leaf, x509.ExtKeyUsageServerAuth):
		return nil, errors.New("the certificate is not one for a server (extended key usage)")
	}
	return pair, nil
}

// ParseClient is Parse for a certificate by which this machine shows servers who
// it is. The zero now asks for no validity.
func ParseClient(chain, key []byte, now time.Time) (*tls.Certificate, error) {
	pair, err := parse(chain, key, now)
	switch {
	case err != nil:
		return nil, err
	case !usable(pair.Leaf, x509.ExtKeyUsageClientAuth):
		return nil, errors.New("the certificate is not one for a client (extended key usage)")
	}
	return pair, nil
}

func parse(chain, key []byte, now time.Time) (*tls.Certificate, error) {
	for _, file := range [][]byte{chain, key} {
		if err := readable(file); err != nil {
			return nil, err
		}
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, errors.New(plain(err, chain, key))
	}
	leaf := pair.Leaf
	switch {
	case now.IsZero():
	case now.After(leaf.NotAfter):
		return nil, fmt.Errorf("the certificate ended on %s", leaf.NotAfter.UTC().Format(time.DateOnly))
	case now.Before(leaf.NotBefore):
		return nil, fmt.Errorf("the certificate begins on %s only; is the clock right?", leaf.NotBefore.UTC().Format(time.DateOnly))
	}
	return &pair, nil
}

func readable(file []byte) error {
	switch block, _ := pem.Decode(file); {
	case len(file) > mostBytes:
		return errors.New("the file is larger than 1 MiB")
	case torn(file):
		return errors.New("a block in it is damaged, or the file is cut short: -----BEGIN … without what belongs to it; was it being written?")
	case block == nil && bytes.HasPrefix(file, []byte{0x30}): // an ASN.1 sequence
		return errors.New("it is no PEM but binary (PFX or DER); of a PFX make PEM with: openssl pkcs12 -in FILE.pfx -nodes -out FILE.pem")
	case block == nil:
		return errors.New("it holds nothing in PEM form (-----BEGIN …)")
	}
	return nil
}

// torn reports whether a block begins that cannot be read. pem.Decode passes over such
// a one: of a chain that was half-written the server's own certificate would be shown
// alone, and whoever does not know the authority between would be turned away.
func torn(file []byte) bool {
	begun, read := 0, 0
	for line := range bytes.Lines(file) {
		if bytes.HasPrefix(line, []byte("-----BEGIN ")) {
			begun++
		}
	}
	for block, rest := pem.Decode(file); block != nil; block, rest = pem.Decode(rest) {
		read++
	}
	return begun > read
}

// plain is what package tls found, by the commonest causes.
func plain(err error, chain, key []byte) string {
	switch {
	case !holds(chain, "CERTIFICATE"):
		return "it holds no certificate"
	case holds(key, "ENCRYPTED PRIVATE KEY"), bytes.Contains(key, []byte("Proc-Type: 4,ENCRYPTED")):
		return "the private key has a password, and nobody is there to type it; take it off with: openssl pkey -in FILE -out FILE"
	case !holds(key, "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"):
		return "it holds no private key"
	}
	return "the certificate and the key cannot be used together: " + err.Error()
}

// holds reports whether a PEM file has a block of one of the types.
func holds(file []byte, types ...string) bool {
	for block, rest := pem.Decode(file); block != nil; block, rest = pem.Decode(rest) {
		for _, t := range types {
			if block.Type == t {
				return true
			}
		}
	}
	return false
}

// usable reports whether a certificate may be used so: one that names no usage may
// be used for any (RFC 5280, section 4.2.1.12).
func usable(c *x509.Certificate, usage x509.ExtKeyUsage) bool {
	return len(c.ExtKeyUsage) == 0 || slices.Contains(c.ExtKeyUsage, usage) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny)
}
