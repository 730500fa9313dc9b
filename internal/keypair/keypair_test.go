package keypair

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var now = time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)

// made is a certificate in PEM, its key in PEM, and the certificate in DER.
func made(t *testing.T, change ...func(*x509.Certificate)) (chain, key, der []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "emerge.school.example"}, DNSNames: []string{"emerge.school.example"},
		NotBefore: now.AddDate(0, -1, 0), NotAfter: now.AddDate(0, 1, 0),
	}
	for _, f := range change {
		f(c)
	}
	der, err = x509.CreateCertificate(rand.Reader, c, c, private.Public(), private)
	require.NoError(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), der
}

func TestAPairIsReadFromOneFileOrTwo(t *testing.T) {
	chain, key, _ := made(t)
	for _, both := range [][2][]byte{{chain, key}, {append(chain, key...), append(chain, key...)}, {append(key, chain...), append(key, chain...)}} {
		pair, err := Parse(both[0], both[1], now)
		require.NoError(t, err)
		require.Equal(t, []string{"emerge.school.example"}, pair.Leaf.DNSNames)
	}
}

func TestWhatIsWrongWithAPairIsSaid(t *testing.T) {
	chain, key, der := made(t)
	_, other, _ := made(t)
	ended, endedKey, _ := made(t, func(c *x509.Certificate) { c.NotAfter = now.AddDate(0, 0, -1) })
	early, earlyKey, _ := made(t, func(c *x509.Certificate) { c.NotBefore = now.AddDate(0, 0, 1) })
	client, clientKey, _ := made(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	locked := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte{1}})
	oldLocked := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED"}, Bytes: []byte{1}})
	for says, both := range map[string][2][]byte{
		"openssl pkcs12":               {der, key},
		"nothing in PEM form":          {[]byte("hello"), key},
		"holds nothing":                {nil, nil},
		"no certificate":               {key, key},
		"no private key":               {chain, chain},
		"has a password":               {chain, locked},
		"openssl pkey":                 {chain, oldLocked},
		"cannot be used together":      {chain, other},
		"ended on 2026-11-01":          {ended, endedKey},
		"begins on 2026-11-03":         {early, earlyKey},
		"not one for a server":         {client, clientKey},
		"cut short":                    {append(bytes.Clone(chain), chain[:len(chain)/2]...), key},
		"was it being written?":        {append(bytes.Clone(chain), "-----BEGIN CERTIFICATE-----\nAAAA"...), key},
		"damaged":                      {slices.Concat(chain, bytes.Replace(chain, []byte("-----END"), []byte("----END"), 1), chain), key},
		"a block in it":                {chain, key[:len(key)-8]},
		"larger than 1 MiB":            {append(chain, strings.Repeat("\n", mostBytes)...), key},
		"cannot be used together: tls": {append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der[:20]})...), other},
	} {
		_, err := Parse(both[0], both[1], now)
		require.ErrorContains(t, err, says)
	}
}

func TestACertificateForAClientIsOneThatMayBeUsedSo(t *testing.T) {
	usage := func(all ...x509.ExtKeyUsage) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.ExtKeyUsage = all }
	}
	for _, well := range [][]x509.ExtKeyUsage{nil, {x509.ExtKeyUsageClientAuth}, {x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageAny}} {
		chain, key, _ := made(t, usage(well...))
		_, err := ParseClient(chain, key, now)
		require.NoError(t, err)
	}
	chain, key, _ := made(t, usage(x509.ExtKeyUsageServerAuth))
	_, err := ParseClient(chain, key, now)
	require.ErrorContains(t, err, "not one for a client")

	ended, endedKey, _ := made(t, func(c *x509.Certificate) { c.NotAfter = now.AddDate(0, 0, -1) })
	_, err = ParseClient(ended, endedKey, now)
	require.ErrorContains(t, err, "ended on 2026-11-01")
	_, err = ParseClient(ended, endedKey, time.Time{})
	require.NoError(t, err, "without a moment validity is not asked for")
}
