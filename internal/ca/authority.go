package ca

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// ahead is how long a generation is valid before it signs: clients whose clocks
// are behind must not see a certificate of the future.
const ahead = 24 * time.Hour

// Authority is an inspection CA as it stood when it was loaded. It is immutable;
// nil covers nothing and has no roots.
type Authority struct {
	generations []Generation // that have not ended, in the order in which they sign
	signing     int          // the one that signs
	dir         string
	at          time.Time // of loading
}

// Generation is one CA certificate with its key.
type Generation struct {
	Certificate *x509.Certificate
	// File is the path of the certificate; the key stands beside it.
	File string
	key  *ecdsa.PrivateKey // nil where it is not needed any more
}

// Begins is the moment from which leaf certificates are signed by g, as long as
// no younger generation has begun.
func (g Generation) Begins() time.Time { return g.Certificate.NotBefore.Add(ahead) }

// KeyFile is the path of the key.
func (g Generation) KeyFile() string { return keyFile(g.File) }

// Dir is the folder the authority is kept in.
func (a *Authority) Dir() string { return a.dir }

// Issuer is what signs leaf certificates now. Its Leaf is set, its key is an
// ECDSA P-256 key, and its chain is the CA certificate alone: a root, which
// clients have and which need not be sent.
func (a *Authority) Issuer() tls.Certificate {
	g := a.Present()
	return tls.Certificate{Certificate: [][]byte{g.Certificate.Raw}, PrivateKey: g.key, Leaf: g.Certificate}
}

// Present is the generation that signs.
func (a *Authority) Present() Generation { return a.generations[a.signing] }

// Generations are all that have not ended, in the order in which they sign.
func (a *Authority) Generations() []Generation { return slices.Clone(a.generations) }

// Next is the generation that signs after the present one; false where there is
// none.
func (a *Authority) Next() (Generation, bool) {
	if a == nil || a.signing+1 == len(a.generations) {
		return Generation{}, false
	}
	return a.generations[a.signing+1], true
}

// Changes is the moment at which Load would give another authority: another
// generation signs then, or the present one has ended.
func (a *Authority) Changes() time.Time {
	end := a.Present().Certificate.NotAfter
	if next, ok := a.Next(); ok && next.Begins().Before(end) {
		return next.Begins()
	}
	return end
}

// Roots are what clients must trust now: the present certificate and, while a
// rotation is under way, those before and after it.
func (a *Authority) Roots() []*x509.Certificate {
	if a == nil {
		return nil
	}
	roots := make([]*x509.Certificate, len(a.generations))
	for i, g := range a.generations {
		roots[i] = g.Certificate
	}
	return roots
}

// Covers reports whether a certificate for the host, a DNS name or an IP
// literal, would be within the name constraints of what signs now.
func (a *Authority) Covers(host string) bool {
	return a != nil && a.Present().Covers(host)
}

// Covers reports whether the host is within the name constraints of g.
func (g Generation) Covers(host string) bool {
	if ip, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return slices.ContainsFunc(addresses(g.Certificate), func(p netip.Prefix) bool { return p.Contains(ip.Unmap()) })
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return slices.ContainsFunc(g.Certificate.PermittedDNSDomains, func(domain string) bool {
		return host == domain || strings.HasSuffix(host, "."+domain)
	})
}

// Domains are the name constraints of g: domains, each with every name below
// it, and addresses.
func (g Generation) Domains() []string {
	var all []string
	for _, d := range g.Certificate.PermittedDNSDomains {
		if d != nowhere {
			all = append(all, d)
		}
	}
	for _, p := range addresses(g.Certificate) {
		all = append(all, p.Addr().String())
	}
	return all
}

// addresses are the IP constraints of a certificate.
func addresses(c *x509.Certificate) []netip.Prefix {
	var all []netip.Prefix
	for _, n := range c.PermittedIPRanges {
		if addr, ok := netip.AddrFromSlice(n.IP); ok {
			bits, _ := n.Mask.Size()
			all = append(all, netip.PrefixFrom(addr.Unmap(), bits))
		}
	}
	return all
}
