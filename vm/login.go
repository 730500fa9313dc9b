package vm

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/bcrypt"

	"gatehouse/internal/wholefile"
)

// The files of the console's door, in the gate's folder.
const (
	certFile  = "console.pem"
	keyFile   = "console.key"
	loginFile = "web.yml"
)

// checkPassword wants what is worth guessing at; bcrypt takes 72 bytes and no more.
func checkPassword(p string) error {
	switch {
	case utf8.RuneCountInString(p) < 10:
		return errors.New("the password needs at least 10 characters")
	case len(p) > 72:
		return errors.New("the password must not be longer than 72 bytes")
	}
	return nil
}

func hashPassword(p string) (string, error) {
	if err := checkPassword(p); err != nil {
		return "", err
	}
	h, err := bcrypt.GenerateFromPassword([]byte(p), bcrypt.DefaultCost)
	return string(h), err
}

// webConfig is the exporter-toolkit configuration of the admin listener. Without a
// hash it asks for a password that nobody has: the door is shut, not open.
func webConfig(hash string) (string, error) {
	if hash == "" {
		nobodys, err := bcrypt.GenerateFromPassword([]byte(rand.Text()), bcrypt.MinCost) // 130 random bits need no slow hash
		if err != nil {
			return "", err
		}
		hash = string(nobodys)
	}
	return fmt.Sprintf("# Written at each start and by the machine's screen.\ntls_server_config:\n  cert_file: %s\n  key_file: %s\nbasic_auth_users:\n  admin: %s\n",
		certFile, keyFile, hash), nil
}

// validFor is how long a certificate of ours holds: what browsers take at most. It is
// made anew in its last month.
const (
	validFor  = 825 * 24 * time.Hour
	lastMonth = 30 * 24 * time.Hour
)

// ownIssuer is the organization in certificates that this machine made; one that an
// admin put in its place is never replaced.
const ownIssuer = "gatehouse, made by this machine"

// ensureCertificate makes the console's certificate where there is none, or where
// ours ends soon.
func ensureCertificate(dir string, s Settings, now time.Time) error {
	cert, err := readCertificate(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case len(cert.Subject.Organization) != 1 || cert.Subject.Organization[0] != ownIssuer, now.Before(cert.NotAfter.Add(-lastMonth)):
		return nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, template(s, now), template(s, now), key.Public(), key)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(
		wholefile.Replace(filepath.Join(dir, keyFile), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), wholefile.Mode(0o640)),
		wholefile.Replace(filepath.Join(dir, certFile), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), wholefile.Mode(0o644)),
	)
}

func template(s Settings, now time.Time) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)) // crypto/rand does not fail
	c := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: s.Hostname, Organization: []string{ownIssuer}},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(validFor), DNSNames: []string{s.Hostname},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	for _, name := range s.names() {
		for _, p := range s.Adapters[name].Addresses {
			c.IPAddresses = append(c.IPAddresses, net.IP(p.Addr().AsSlice()))
		}
	}
	return c
}

func readCertificate(dir string) (*x509.Certificate, error) {
	text, err := os.ReadFile(filepath.Join(dir, certFile))
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s holds no certificate", certFile)
	}
	return x509.ParseCertificate(block.Bytes)
}

// fingerprint is the SHA-256 of the console's certificate as browsers show it, in
// two lines.
func fingerprint(dir string) ([2]string, error) {
	cert, err := readCertificate(dir)
	if err != nil {
		return [2]string{}, err
	}
	sum := sha256.Sum256(cert.Raw)
	var pairs []string
	for _, b := range sum {
		pairs = append(pairs, fmt.Sprintf("%02X", b))
	}
	return [2]string{strings.Join(pairs[:16], ":"), strings.Join(pairs[16:], ":")}, nil
}
