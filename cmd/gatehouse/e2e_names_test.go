package main

import (
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
)

// TestEndToEndNamesOverTLS asks the built binary with kdig, which holds the
// certificate to a name (RFC 8310, the strict profile) and pads what it asks.
func TestEndToEndNamesOverTLS(t *testing.T) {
	needTools(t)
	_, err := exec.LookPath("kdig")
	need(t, err == nil, "kdig is not installed")
	upstream := nettest.NewDNS(t, "www.groupcall.co.uk. 300 IN A 127.0.0.2")
	g := newGate(t, buildBinary(t), e2eRules, upstream)
	school := nettest.NewAuthority(t, "school")
	pair := school.Sign(t, nil, "dns.school.example")
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	require.NoError(t, err)
	inPEM := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	g.write(t, "dns.pem", inPEM("CERTIFICATE", pair.Certificate[0]))
	g.write(t, "dns.key", inPEM("PRIVATE KEY", key))
	g.write(t, "school.pem", inPEM("CERTIFICATE", school.Certificate.Certificate[0]))
	at := freeAddresses(t, "127.0.0.78", 1)[0]
	config, err := os.ReadFile(g.path("gatehouse.toml"))
	require.NoError(t, err)
	g.write(t, "gatehouse.toml", strings.NewReplacer("[listen]\n", "[listen]\ndns_tls = \""+at+"\"\n",
		"[dns]\n", "[dns]\ncertificate = [\"dns.pem\", \"dns.key\"]\n").Replace(string(config)))
	g.start(t)

	host, port, err := net.SplitHostPort(at)
	require.NoError(t, err)
	kdig := func(server string, args ...string) (string, int) {
		return tool(t, "kdig", append([]string{"@" + host, "-p", port, "+tls-ca=" + g.path("school.pem"), "+tls-host=" + server, "+retry=0", "+timeout=30"}, args...)...)
	}
	out, code := kdig("dns.school.example", "www.groupcall.co.uk")
	require.Zero(t, code, out)
	require.Contains(t, out, "TLS session (TLS1.3)")
	require.Contains(t, out, "127.0.0.2")
	require.Contains(t, out, "PADDING:")
	require.Contains(t, out, "Received 468 B")
	out, code = kdig("dns.school.example", "other.example.org", "+keepopen", "www.groupcall.co.uk")
	require.Zero(t, code, out)
	require.Contains(t, out, "host-not-listed GH-")
	require.Contains(t, out, "127.0.0.2")
	out, code = kdig("dns.other.example", "www.groupcall.co.uk")
	require.NotZero(t, code, out)
	require.NotContains(t, out, "127.0.0.2")
	require.Zero(t, g.terminate(t))
}

// TestEndToEndANameIsAskedForOnce asks for a name by dig and goes there by CONNECT:
// the filter and the proxy share what the upstream said.
func TestEndToEndANameIsAskedForOnce(t *testing.T) {
	needTools(t)
	const name = "www.groupcall.co.uk"
	upstream := world(t)
	g := newGate(t, buildBinary(t), e2eRules, upstream)
	g.start(t)
	require.Contains(t, g.dig(t, name, "A"), "127.0.0.2")
	require.Equal(t, 1, upstream.Asked(name, "A"))
	out, code := g.curl(t, "-k", "https://"+name+"/update.inf")
	require.Zero(t, code, out)
	require.Contains(t, out, "Number=1", "it went through the tunnel")
	require.Contains(t, g.dig(t, name, "A"), "127.0.0.2")
	require.Equal(t, 1, upstream.Asked(name, "A"), "%v", upstream.Questions())
	require.Zero(t, g.terminate(t))
}
