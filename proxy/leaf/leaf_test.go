package leaf

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

func TestMain(m *testing.M) { nettest.Main(m) }

// noon is when the tests take place.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// authority makes a CA for a while around noon, changed as the test needs it.
func authority(t testing.TB, change func(*x509.Certificate)) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test inspection CA"},
		NotBefore: noon.AddDate(0, 0, -100), NotAfter: noon.AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
		PermittedDNSDomainsCritical: true, PermittedDNSDomains: []string{"example.org"},
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func host(t testing.TB, name string) policy.Host {
	h, err := policy.ParseHost(name)
	require.NoError(t, err)
	return h
}

// mint is a Mint whose clock the test turns.
func mint(t testing.TB, issuer tls.Certificate) (*Mint, *time.Time) {
	now := noon
	m, err := New(issuer, func() time.Time { return now })
	require.NoError(t, err)
	return m, &now
}

func parsed(t testing.TB, c *tls.Certificate) *x509.Certificate {
	x, err := x509.ParseCertificate(c.Certificate[0])
	require.NoError(t, err)
	return x
}

func TestALeafIsWhatClientsAsk(t *testing.T) {
	issuer := authority(t, func(c *x509.Certificate) { c.PermittedIPRanges = nil; c.PermittedDNSDomains = nil })
	roots := x509.NewCertPool()
	roots.AddCert(issuer.Leaf)
	long := strings.Repeat("a", 60) + ".example.org"
	m, _ := mint(t, issuer)
	for _, test := range []struct{ name, host, common string }{
		{"a name", "www.example.org", "www.example.org"},
		{"a name that is too long for a common name", long, ""},
		{"an IPv4 address", "192.0.2.7", ""},
		{"an IPv6 address", "2001:db8::7", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := m.Certificate(host(t, test.host))
			require.NoError(t, err)
			require.Len(t, c.Certificate, 1, "the root is sent along")
			x := parsed(t, c)
			require.NoError(t, x.VerifyHostname(test.host))
			require.Error(t, x.VerifyHostname("www.example.com"))
			_, err = x.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: noon, DNSName: test.host, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
			require.NoError(t, err)
			require.Equal(t, test.common, x.Subject.CommonName)
			require.False(t, x.IsCA)
			require.True(t, x.BasicConstraintsValid)
			require.Equal(t, x509.KeyUsageDigitalSignature, x.KeyUsage)
			require.Equal(t, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, x.ExtKeyUsage)
			require.Equal(t, issuer.Leaf.SubjectKeyId, x.AuthorityKeyId)
			require.Len(t, x.SubjectKeyId, 20)
			require.GreaterOrEqual(t, x.SerialNumber.BitLen(), 120, "the serial number can be guessed")
			require.Equal(t, 7*24*time.Hour, x.NotAfter.Sub(x.NotBefore))
			require.True(t, x.NotBefore.Before(noon.Add(-23*time.Hour)), "a clock that is behind would refuse it")
		})
	}
}

func TestALeafIsValidOnlyAsLongAsItsAuthority(t *testing.T) {
	m, now := mint(t, authority(t, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = noon.Add(-time.Hour), noon.Add(time.Hour) }))
	c, err := m.Certificate(host(t, "www.example.org"))
	require.NoError(t, err)
	x := parsed(t, c)
	require.Equal(t, noon.Add(-time.Hour), x.NotBefore)
	require.Equal(t, noon.Add(time.Hour), x.NotAfter)
	*now = noon.Add(2 * time.Hour)
	_, err = m.Certificate(host(t, "other.example.org"))
	require.ErrorContains(t, err, "not now")
	require.NotContains(t, m.leaves, host(t, "other.example.org"), "what failed is kept")
}

func TestALeafIsKeptForHalfOfItsLife(t *testing.T) {
	m, now := mint(t, authority(t, nil))
	first, err := m.Certificate(host(t, "www.example.org"))
	require.NoError(t, err)
	for _, test := range []struct {
		name  string
		after time.Duration
		same  bool
	}{
		{"the same moment", 0, true},
		{"after two days", 48 * time.Hour, true},
		{"after three days and a half", 84 * time.Hour, false},
	} {
		*now = noon.Add(test.after)
		c, err := m.Certificate(host(t, "www.example.org"))
		require.NoError(t, err)
		require.Equal(t, test.same, c == first, test.name)
	}
	*now = noon.Add(-24 * time.Hour)
	c, err := m.Certificate(host(t, "www.example.org"))
	require.NoError(t, err)
	require.False(t, parsed(t, c).NotBefore.After(*now), "the clock was set back, and the certificate is one of the future")
}

func TestManyWhoAskAtOnceGetOne(t *testing.T) {
	m, _ := mint(t, authority(t, nil))
	var all sync.WaitGroup
	start, got := make(chan struct{}), make([]*tls.Certificate, 64)
	for i := range got {
		all.Go(func() {
			<-start
			got[i], _ = m.Certificate(host(t, "www.example.org"))
		})
	}
	close(start)
	all.Wait()
	for _, c := range got {
		require.NotNil(t, c)
		require.Same(t, got[0], c)
	}
}

func TestTheLeavesKeptAreBounded(t *testing.T) {
	m, _ := mint(t, authority(t, nil))
	for i := range most + 10 {
		m.take(host(t, fmt.Sprintf("h%d.example.org", i)))
		m.take(host(t, "h0.example.org")) // what is asked for stays
	}
	require.Len(t, m.leaves, most)
	require.Equal(t, most, m.order.Len())
	require.Contains(t, m.leaves, host(t, "h0.example.org"))
	require.NotContains(t, m.leaves, host(t, "h1.example.org"))
}

func TestTwoThousandHostsFitIntoMemory(t *testing.T) {
	m, _ := mint(t, authority(t, nil))
	heap := func() uint64 {
		var s runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	before := heap()
	for i := range 2000 {
		_, err := m.Certificate(host(t, fmt.Sprintf("h%d.example.org", i)))
		require.NoError(t, err)
	}
	require.Less(t, int64(heap())-int64(before), int64(64<<20))
	runtime.KeepAlive(m)
}

func TestAnIntermediateIsSentAlong(t *testing.T) {
	root := authority(t, nil)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "below"}, NotBefore: noon.AddDate(0, 0, -1), NotAfter: noon.AddDate(0, 1, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, root.Leaf, key.Public(), root.PrivateKey)
	require.NoError(t, err)
	m, _ := mint(t, tls.Certificate{Certificate: [][]byte{der, root.Certificate[0]}, PrivateKey: key})
	c, err := m.Certificate(host(t, "www.example.org"))
	require.NoError(t, err)
	require.Equal(t, [][]byte{der}, c.Certificate[1:])
}

func TestAnAuthorityThatCannotSignIsRefused(t *testing.T) {
	a, b := authority(t, nil), authority(t, nil)
	for name, issuer := range map[string]tls.Certificate{
		"nothing":                       {},
		"no key":                        {Certificate: a.Certificate},
		"the key of another":            {Certificate: a.Certificate, PrivateKey: b.PrivateKey},
		"something that is no key":      {Certificate: a.Certificate, PrivateKey: "key"},
		"bytes that are no certificate": {Certificate: [][]byte{{1, 2, 3}}, PrivateKey: a.PrivateKey},
	} {
		_, err := New(issuer, nil)
		require.Error(t, err, name)
	}
}

func BenchmarkMint(b *testing.B) {
	m, _ := mint(b, authority(b, nil))
	h := host(b, "www.example.org")
	for b.Loop() {
		if _, err := m.sign(h, noon); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkKeptLeaf(b *testing.B) {
	m, _ := mint(b, authority(b, nil))
	h := host(b, "www.example.org")
	for b.Loop() {
		if _, err := m.Certificate(h); err != nil {
			b.Fatal(err)
		}
	}
}
