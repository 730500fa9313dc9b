package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// DefaultName is what a CA is called where nobody names it.
const DefaultName = "Gatehouse inspection CA"

// DefaultLife is how long a generation is valid where nobody says.
const DefaultLife = 3 * 365 * 24 * time.Hour

// nowhere is a name that nobody can have (RFC 2606): a CA for addresses alone is
// constrained to it, for a constraint that is missing permits every name.
const nowhere = "invalid"

// ErrExists says that the folder holds a CA already.
var ErrExists = errors.New("there is a CA already")

// Options say what CA to make.
type Options struct {
	// Domains are the name constraints, at least one: domains such as
	// "groupcall.com", each with every name below it, and IP addresses.
	Domains []string
	Name    string        // what it is called; the day and a number follow it (DefaultName)
	Now     time.Time     // the present moment (time.Now)
	From    time.Time     // when it begins to sign (Now)
	Life    time.Duration // how long it signs (DefaultLife)
}

// Create makes the first CA of a folder, and the folder where there is none. It
// overwrites nothing: where there is a CA, or what is left of one, the error
// wraps ErrExists.
func Create(dir string, o Options) (*Authority, error) {
	kept, err := certificateFiles(dir)
	if err != nil {
		return nil, err
	}
	if len(kept) > 0 {
		return nil, fmt.Errorf("%w: %s; to replace it without an interruption, run: gatehouse ca init --rotate", ErrExists, kept[len(kept)-1])
	}
	return add(dir, o)
}

// Rotate makes a further generation beside those that are there. From
// Options.From on it signs in place of the present one, which stays trusted
// until it ends. It may take a second.
func Rotate(dir string, o Options) (*Authority, error) {
	kept, err := certificateFiles(dir)
	if err != nil {
		return nil, err
	}
	if len(kept) == 0 {
		return nil, fmt.Errorf("%w in %s, so there is none to rotate; run: gatehouse ca init", ErrMissing, dir)
	}
	o.fill()
	for slices.ContainsFunc(kept, beginsAt(o.From)) {
		if !o.From.After(o.Now) { // it is to sign at once: then at once is a second later
			time.Sleep(time.Second)
			o.Now = o.Now.Add(time.Second)
		}
		o.From = o.From.Add(time.Second)
	}
	return add(dir, o)
}

// beginsAt finds the generation that begins in the second of a moment: of two
// that did, nobody could tell which is the younger.
func beginsAt(from time.Time) func(file string) bool {
	return func(file string) bool {
		c, err := readCertificate(file)
		return err == nil && Generation{Certificate: c}.Begins().Unix() == from.Unix()
	}
}

// add makes a generation and puts it into the folder: its key first, for the
// certificate is what makes it count.
func add(dir string, o Options) (*Authority, error) {
	o.fill()
	template, err := o.template()
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	if err := makeFolder(dir); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, fileName(template))
	if err := put(keyFile(file), "PRIVATE KEY", keyDER, 0o600); err != nil {
		return nil, err
	}
	if err := put(file, "CERTIFICATE", der, 0o644); err != nil {
		os.Remove(keyFile(file))
		return nil, err
	}
	return Load(dir, o.Now)
}

func (o *Options) fill() {
	if o.Name == "" {
		o.Name = DefaultName
	}
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	if o.From.IsZero() {
		o.From = o.Now
	}
	if o.Life <= 0 {
		o.Life = DefaultLife
	}
}

// template is the certificate to be signed: a CA for servers' certificates
// alone, that signs no further CA, and only for the domains given (RFC 5280,
// section 4.2.1.10).
func (o *Options) template() (*x509.Certificate, error) {
	domains, ranges, err := constraints(o.Domains)
	if err != nil {
		return nil, err
	}
	serial := make([]byte, 16)
	rand.Read(serial) // never fails
	serial[0] = serial[0]&0x7f | 0x40
	begins := o.From.UTC().Truncate(time.Second)
	t := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial),
		Subject:      pkix.Name{CommonName: fmt.Sprintf("%s %s %s", o.Name, begins.Format(time.DateOnly), hex.EncodeToString(serial[:2]))},
		NotBefore:    begins.Add(-ahead), NotAfter: begins.Add(o.Life),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage:                    x509.KeyUsageCertSign,
		ExtKeyUsage:                 []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         domains, PermittedIPRanges: ranges,
	}
	if len(domains) == 0 {
		t.PermittedDNSDomains = []string{nowhere}
	}
	if len(ranges) == 0 {
		t.ExcludedIPRanges = everyAddress()
	}
	return t, nil
}

// Domains reads what a CA is to be made for as people write it, in any case, with
// a star before it or a dot behind: domains first, then addresses, as they will
// stand in the certificate. The error says which is none.
func Domains(list []string) ([]string, error) {
	all, ranges, err := constraints(list)
	for _, r := range ranges {
		all = append(all, r.IP.String())
	}
	return all, err
}

// constraints sorts domains from addresses.
func constraints(list []string) (domains []string, ranges []*net.IPNet, err error) {
	for _, s := range list {
		s = strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(s), "*."), "."))
		if ip, err := netip.ParseAddr(s); err == nil {
			ip = ip.Unmap()
			ranges = append(ranges, &net.IPNet{IP: ip.AsSlice(), Mask: net.CIDRMask(ip.BitLen(), ip.BitLen())})
			continue
		}
		if !isDomain(s) {
			return nil, nil, fmt.Errorf("%q is no domain a CA can be constrained to: write it like groupcall.com, without scheme, port, path or star", s)
		}
		if !slices.Contains(domains, s) {
			domains = append(domains, s)
		}
	}
	if len(domains)+len(ranges) == 0 {
		return nil, nil, errors.New("a CA without a domain would vouch for every name, or for none; name the domains it is for")
	}
	slices.Sort(domains)
	return domains, ranges, nil
}

// isDomain reports whether s is a name of at least two labels. One label would
// be a whole top-level domain.
func isDomain(s string) bool {
	labels := strings.Split(s, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || strings.Trim(l, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" || l[0] == '-' || l[len(l)-1] == '-' {
			return false
		}
	}
	return len(labels) > 1 && len(s) <= 253
}

// everyAddress is what a CA for names alone excludes.
func everyAddress() []*net.IPNet {
	return []*net.IPNet{
		{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)},
		{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)},
	}
}
