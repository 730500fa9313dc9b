package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func create(t *testing.T, domains ...string) (string, *Authority) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "state", "ca")
	a, err := Create(dir, Options{Domains: domains, Now: noon})
	require.NoError(t, err)
	return dir, a
}

// leaf signs a server's certificate for a host, as the gate would.
func leaf(t *testing.T, issuer tls.Certificate, host string, now time.Time) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer.Leaf, key.Public(), issuer.PrivateKey)
	require.NoError(t, err)
	c, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return c
}

// believed asks as a client would that trusts the roots and nothing else.
func believed(roots []*x509.Certificate, c *x509.Certificate, host string, now time.Time) error {
	pool := x509.NewCertPool()
	for _, r := range roots {
		pool.AddCert(r)
	}
	_, err := c.Verify(x509.VerifyOptions{DNSName: host, Roots: pool, CurrentTime: now})
	return err
}

func TestWhatACAVouchesForIsWhatClientsBelieve(t *testing.T) {
	_, names := create(t, "groupcall.com", "Groupcall.co.uk.", "*.example.org")
	_, literal := create(t, "192.0.2.7", "2001:db8::7")
	_, both := create(t, "groupcall.com", "192.0.2.7")
	for _, test := range []struct {
		name   string
		ca     *Authority
		host   string
		covers bool
	}{
		{"the domain itself", names, "groupcall.com", true},
		{"a name below it", names, "dashboard.groupcall.com", true},
		{"a name far below it", names, "a.b.c.groupcall.com", true},
		{"a domain that was written in capitals and with a dot", names, "www.groupcall.co.uk", true},
		{"a domain that was written with a star", names, "example.org", true},
		{"a name that ends in the same letters", names, "evilgroupcall.com", false},
		{"another domain", names, "www.bank.example", false},
		{"the top-level domain", names, "com", false},
		{"an address, where only names are listed", names, "192.0.2.7", false},
		{"an IPv6 address, where only names are listed", names, "2001:db8::7", false},
		{"an address that is listed", literal, "192.0.2.7", true},
		{"an IPv6 address that is listed", literal, "2001:db8::7", true},
		{"an address beside it", literal, "192.0.2.8", false},
		{"a name, where only addresses are listed", literal, "groupcall.com", false},
		{"a name beside an address", both, "www.groupcall.com", true},
		{"an address beside a name", both, "192.0.2.7", true},
		{"an IPv6 address, where only an IPv4 address is listed", both, "2001:db8::7", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			require.Equal(t, test.covers, test.ca.Covers(test.host))
			err := believed(test.ca.Roots(), leaf(t, test.ca.Issuer(), test.host, noon), test.host, noon)
			if test.covers {
				require.NoError(t, err)
				return
			}
			var invalid x509.CertificateInvalidError
			require.ErrorAs(t, err, &invalid)
			require.Equal(t, x509.CANotAuthorizedForThisName, invalid.Reason)
		})
	}
}

func TestCoversTakesHostsAsTheyAreWritten(t *testing.T) {
	_, a := create(t, "groupcall.com", "2001:db8::7")
	require.True(t, a.Covers("WWW.Groupcall.COM."))
	require.True(t, a.Covers("[2001:db8::7]"))
	require.False(t, a.Covers(""))
	var none *Authority
	require.False(t, none.Covers("groupcall.com"), "nil covers nothing")
	require.Empty(t, none.Roots())
}

func TestACASignsServersAloneAndNoFurtherCA(t *testing.T) {
	_, a := create(t, "groupcall.com")
	c := a.Issuer().Leaf
	require.True(t, c.IsCA)
	require.True(t, c.MaxPathLenZero)
	require.Zero(t, c.MaxPathLen)
	require.True(t, c.PermittedDNSDomainsCritical)
	require.Equal(t, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, c.ExtKeyUsage)
	require.Equal(t, x509.KeyUsageCertSign, c.KeyUsage)
	require.Equal(t, elliptic.P256(), a.Issuer().PrivateKey.(*ecdsa.PrivateKey).Curve)
	require.Equal(t, []string{"groupcall.com"}, a.Present().Domains())
	require.Contains(t, c.Subject.CommonName, DefaultName+" 2026-03-04")
	require.Len(t, a.Issuer().Certificate, 1)
	require.Equal(t, noon.Add(DefaultLife), a.Changes())
}

func TestTheKeyIsForItsOwnerAlone(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes are those of unix")
	}
	dir, a := create(t, "groupcall.com")
	for path, mode := range map[string]os.FileMode{dir: 0o700, a.Present().KeyFile(): 0o600, a.Present().File: 0o644} {
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode().Perm(), path)
	}
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 2, "no half-written file stays behind")
}

func TestCreateRefuses(t *testing.T) {
	for _, test := range []struct {
		name    string
		domains []string
		says    string
	}{
		{"no domain at all", nil, "name the domains"},
		{"a top-level domain", []string{"com"}, "is no domain"},
		{"a URL", []string{"https://www.example.org/"}, "is no domain"},
		{"a host with a port", []string{"www.example.org:443"}, "is no domain"},
		{"an empty text", []string{""}, "is no domain"},
		{"a star within a label", []string{"www*.example.org"}, "is no domain"},
		{"a name with an empty label", []string{"a..org"}, "is no domain"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "ca")
			_, err := Create(dir, Options{Domains: test.domains, Now: noon})
			require.ErrorContains(t, err, test.says)
			require.NoDirExists(t, dir)
		})
	}
	t.Run("a folder that holds a CA, which stays as it is", func(t *testing.T) {
		dir, a := create(t, "groupcall.com")
		_, err := Create(dir, Options{Domains: []string{"example.org"}, Now: noon})
		require.ErrorIs(t, err, ErrExists)
		require.ErrorContains(t, err, "gatehouse ca init --rotate")
		again, err := Load(dir, noon)
		require.NoError(t, err)
		require.Equal(t, a.Issuer().Certificate, again.Issuer().Certificate)
	})
	t.Run("a rotation of what is not there", func(t *testing.T) {
		_, err := Rotate(filepath.Join(t.TempDir(), "ca"), Options{Domains: []string{"example.org"}, Now: noon})
		require.ErrorIs(t, err, ErrMissing)
	})
}

func TestARotationOverlaps(t *testing.T) {
	day := 24 * time.Hour
	dir, old := create(t, "groupcall.com")
	from := noon.Add(14 * day)
	a, err := Rotate(dir, Options{Domains: []string{"groupcall.com", "example.org"}, Now: noon, From: from})
	require.NoError(t, err)
	require.Equal(t, old.Issuer().Certificate, a.Issuer().Certificate, "the old one signs")
	require.Len(t, a.Roots(), 2, "clients must trust both already")
	require.False(t, a.Covers("example.org"))
	next, ok := a.Next()
	require.True(t, ok)
	require.Equal(t, from, next.Begins())
	require.Equal(t, from, a.Changes())
	require.True(t, next.Covers("example.org"))
	_, err = Rotate(dir, Options{Domains: []string{"groupcall.com"}, Now: noon, From: from.Add(day)})
	require.NoError(t, err, "and again, should something have been forgotten")

	after, err := Load(dir, from)
	require.NoError(t, err)
	require.Equal(t, next.Certificate.Raw, after.Issuer().Certificate[0], "from the moment on that was said")
	require.Len(t, after.Roots(), 3, "the old one is trusted until it ends")
	require.NoError(t, os.Remove(old.Present().KeyFile()))
	_, err = Load(dir, from)
	require.NoError(t, err, "its key is not needed any more")
	_, err = Load(dir, noon)
	require.ErrorContains(t, err, "is missing", "but before, it was")

	late, err := Load(dir, noon.Add(DefaultLife+time.Hour))
	require.NoError(t, err)
	require.Len(t, late.Roots(), 2, "what has ended is passed over")
}

func TestWhatSignsNextIsBelievedByAClockThatIsBehind(t *testing.T) {
	dir, _ := create(t, "groupcall.com")
	from := noon.Add(time.Hour)
	_, err := Rotate(dir, Options{Domains: []string{"groupcall.com"}, Now: noon, From: from})
	require.NoError(t, err)
	a, err := Load(dir, from)
	require.NoError(t, err)
	_, more := a.Next()
	require.False(t, more)
	require.NoError(t, believed(a.Roots(), leaf(t, a.Issuer(), "www.groupcall.com", from.Add(-12*time.Hour)), "www.groupcall.com", from.Add(-12*time.Hour)))
}

func TestLoadSaysWhatIsWrongAndWhatToRun(t *testing.T) {
	foreign := func(t *testing.T, change func(*x509.Certificate)) []byte {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: noon.Add(-48 * time.Hour), NotAfter: noon.Add(time.Hour),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, PermittedDNSDomains: []string{"groupcall.com"}}
		change(c)
		der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
		require.NoError(t, err)
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	for _, test := range []struct {
		name   string
		damage func(t *testing.T, dir string, g Generation)
		at     time.Time
		says   []string
	}{
		{"no folder", func(t *testing.T, dir string, _ Generation) { require.NoError(t, os.RemoveAll(dir)) }, noon,
			[]string{"there is no inspection CA", "run: gatehouse ca init"}},
		{"an empty folder", func(t *testing.T, _ string, g Generation) {
			require.NoError(t, os.Remove(g.File))
		}, noon, []string{"there is no inspection CA", "run: gatehouse ca init"}},
		{"no key", func(t *testing.T, _ string, g Generation) { require.NoError(t, os.Remove(g.KeyFile())) }, noon,
			[]string{".key is missing", "put it back"}},
		{"a key that others can read", func(t *testing.T, _ string, g Generation) { require.NoError(t, os.Chmod(g.KeyFile(), 0o640)) }, noon,
			[]string{"can be read by others (mode 0640)", "run: chmod 600"}},
		{"a key that is rubbish", func(t *testing.T, _ string, g Generation) { overwrite(t, g.KeyFile(), []byte("rubbish")) }, noon,
			[]string{`holds no PEM block "PRIVATE KEY"`}},
		{"a key whose inside is rubbish", func(t *testing.T, _ string, g Generation) {
			overwrite(t, g.KeyFile(), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("rubbish")}))
		}, noon, []string{"holds no readable key"}},
		{"a key that is a folder", func(t *testing.T, _ string, g Generation) {
			require.NoError(t, os.Remove(g.KeyFile()))
			require.NoError(t, os.Mkdir(g.KeyFile(), 0o700))
		}, noon, []string{"is no file of one certificate or key"}},
		{"a certificate that is far too long", func(t *testing.T, _ string, g Generation) { require.NoError(t, os.Truncate(g.File, mostPEM+1)) }, noon,
			[]string{"is no file of one certificate or key"}},
		{"the key of another CA", func(t *testing.T, _ string, g Generation) {
			_, other := create(t, "groupcall.com")
			text, err := os.ReadFile(other.Present().KeyFile())
			require.NoError(t, err)
			overwrite(t, g.KeyFile(), text)
		}, noon, []string{"is not the key of"}},
		{"a certificate that is cut off", func(t *testing.T, _ string, g Generation) {
			text, err := os.ReadFile(g.File)
			require.NoError(t, err)
			overwrite(t, g.File, text[:len(text)/2])
		}, noon, []string{`holds no PEM block "CERTIFICATE"`, "gatehouse ca init"}},
		{"a certificate whose inside is rubbish", func(t *testing.T, _ string, g Generation) {
			overwrite(t, g.File, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("rubbish")}))
		}, noon, []string{"holds no readable certificate"}},
		{"a certificate that is no CA", func(t *testing.T, _ string, g Generation) {
			overwrite(t, g.File, foreign(t, func(c *x509.Certificate) { c.IsCA, c.PermittedDNSDomains = false, nil }))
		}, noon, []string{"is no CA"}},
		{"a CA for every name", func(t *testing.T, _ string, g Generation) {
			overwrite(t, g.File, foreign(t, func(c *x509.Certificate) { c.PermittedDNSDomains = nil }))
		}, noon, []string{"is not constrained to domains"}},
		{"a CA that has ended", func(*testing.T, string, Generation) {}, noon.Add(DefaultLife),
			[]string{"ended on 2029-03-03", "run: gatehouse ca init --rotate"}},
		{"a clock that is far behind", func(*testing.T, string, Generation) {}, noon.Add(-48 * time.Hour),
			[]string{"signs only from 2026-03-04 12:00:00 on", "clock"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir, a := create(t, "groupcall.com")
			test.damage(t, dir, a.Present())
			got, err := Load(dir, test.at)
			require.Nil(t, got)
			for _, says := range test.says {
				require.ErrorContains(t, err, says)
			}
		})
	}
}

func overwrite(t *testing.T, file string, text []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(file, text, 0o600))
}

func TestAGenerationMadeInTheSameSecondIsStillTheYounger(t *testing.T) {
	for range 4 { // the order of the files is that of random numbers
		dir := filepath.Join(t.TempDir(), "ca")
		_, err := Create(dir, Options{Domains: []string{"example.org"}, Now: noon})
		require.NoError(t, err)
		for _, test := range []struct {
			from   time.Time
			signed string
		}{{noon.AddDate(0, 0, 1), "example.org"}, {noon.AddDate(0, 0, 1), "example.org"}, {noon, "example.com"}} {
			a, err := Rotate(dir, Options{Domains: []string{"example.com"}, Now: noon, From: test.from})
			require.NoError(t, err)
			require.Equal(t, []string{test.signed}, a.Present().Domains())
		}
	}
}
