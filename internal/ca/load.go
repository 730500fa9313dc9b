package ca

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"time"
)

// ErrMissing says that the folder holds no CA.
var ErrMissing = errors.New("there is no inspection CA")

// Load reads the authority that a folder holds at a moment. Generations that
// have ended are passed over. Where anything is wrong with one that has not, the
// error says what, and what to run; where there is none it wraps ErrMissing.
func Load(dir string, now time.Time) (*Authority, error) {
	files, err := certificateFiles(dir)
	if err != nil {
		return nil, err
	}
	a := &Authority{dir: dir, at: now}
	var ended *x509.Certificate
	for _, file := range files {
		c, err := readCertificate(file)
		if err != nil {
			return nil, err
		}
		if !c.NotAfter.After(now) {
			ended = c
			continue
		}
		a.generations = append(a.generations, Generation{Certificate: c, File: file})
	}
	switch {
	case len(a.generations) == 0 && ended != nil:
		return nil, fmt.Errorf("the inspection CA in %s ended on %s; run: gatehouse ca init --rotate --from now", dir, ended.NotAfter.UTC().Format(time.DateOnly))
	case len(a.generations) == 0:
		return nil, fmt.Errorf("%w in %s; run: gatehouse ca init", ErrMissing, dir)
	}
	slices.SortStableFunc(a.generations, func(x, y Generation) int { return cmp.Compare(x.Begins().Unix(), y.Begins().Unix()) })
	if err := a.ready(now); err != nil {
		return nil, err
	}
	return a, nil
}

// ready finds the generation that signs, and reads its key and those of the
// generations after it: trouble is told before their day comes.
func (a *Authority) ready(now time.Time) error {
	a.signing = -1
	for i, g := range a.generations {
		if !g.Begins().After(now) {
			a.signing = i
		}
	}
	if a.signing < 0 {
		return fmt.Errorf("the inspection CA %s signs only from %s on; wait, or check this machine's clock", a.generations[0].File, a.generations[0].Begins().UTC().Format(time.DateTime))
	}
	for i := a.signing; i < len(a.generations); i++ {
		g := &a.generations[i]
		key, err := readKey(g.KeyFile())
		if err != nil {
			return err
		}
		if !key.PublicKey.Equal(g.Certificate.PublicKey) {
			return fmt.Errorf("%s is not the key of %s; put the right one back, or remove both files and run: gatehouse ca init", g.KeyFile(), g.File)
		}
		g.key = key
	}
	return nil
}

// readCertificate reads one CA certificate and refuses what is none.
func readCertificate(file string) (*x509.Certificate, error) {
	der, err := readPEM(file, "CERTIFICATE")
	if err != nil {
		return nil, err
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("%s holds no readable certificate (%w); put the right file back, or remove it and its key and run: gatehouse ca init", file, err)
	}
	if why := unfit(c); why != "" {
		return nil, fmt.Errorf("%s %s; gatehouse signs only with CAs that it made: remove it and its key and run: gatehouse ca init", file, why)
	}
	return c, nil
}

// unfit says why a certificate is no inspection CA, empty where it is one.
func unfit(c *x509.Certificate) string {
	_, elliptic := c.PublicKey.(*ecdsa.PublicKey)
	switch {
	case !c.BasicConstraintsValid || !c.IsCA || c.KeyUsage&x509.KeyUsageCertSign == 0:
		return "is no CA: clients would not believe what it signs"
	case !elliptic:
		return "has no ECDSA key"
	case len(c.PermittedDNSDomains) == 0:
		return "is not constrained to domains, so whoever got hold of its key could be any site"
	case c.CheckSignatureFrom(c) != nil:
		return "is not signed by itself"
	}
	return ""
}

// readKey reads a key that nobody else can read.
func readKey(file string) (*ecdsa.PrivateKey, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, unreadable(file, err)
	}
	if open := info.Mode().Perm() & 0o077; open != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("%s can be read by others (mode %04o); whoever has it can pose as the sites it is for; run: chmod 600 %s, and if others use this machine: gatehouse ca init --rotate --from now", file, info.Mode().Perm(), file)
	}
	der, err := readPEM(file, "PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	key, ok := parsed.(*ecdsa.PrivateKey)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s holds no readable key; put the right file back, or remove it and its certificate and run: gatehouse ca init", file)
	case !ok:
		return nil, fmt.Errorf("%s holds a key that is not ECDSA; put the right file back, or remove it and its certificate and run: gatehouse ca init", file)
	}
	return key, nil
}

// mostPEM bounds a file: a certificate or a key takes some hundred octets.
const mostPEM = 64 << 10

// readPEM reads a file of one PEM block.
func readPEM(file, kind string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, unreadable(file, err)
	}
	if !info.Mode().IsRegular() || info.Size() > mostPEM { // a pipe would be waited for
		return nil, fmt.Errorf("%s is no file of one certificate or key; put the right one back, or remove it and the file beside it and run: gatehouse ca init", file)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, unreadable(file, err)
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != kind {
		return nil, fmt.Errorf("%s holds no PEM block %q; put the right file back, or remove it and the file beside it and run: gatehouse ca init", file, kind)
	}
	return block.Bytes, nil
}

func unreadable(file string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s is missing, and the certificate beside it is of no use without it; put it back, or remove the certificate and run: gatehouse ca init (%w)", file, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("gatehouse may not read %s; make the user that runs it the owner: chown (%w)", file, err)
	}
	return fmt.Errorf("%s cannot be read: %w", file, err)
}
