package policy_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/policy"
)

func TestHostsAreNormalizedOnce(t *testing.T) {
	long := strings.Repeat("a", 63)
	for in, want := range map[string]string{
		"www.Example.ORG": "www.example.org", "www.example.org.": "www.example.org",
		"münchen.example": "xn--mnchen-3ya.example", "MÜNCHEN.example.": "xn--mnchen-3ya.example",
		"xn--mnchen-3ya.example": "xn--mnchen-3ya.example", "ｅxample.org": "example.org",
		"_dns.resolver.arpa": "_dns.resolver.arpa", "localhost": "localhost",
		"192.0.2.1": "192.0.2.1", "[2001:DB8::1]": "2001:db8::1", "2001:db8:0::1": "2001:db8::1",
		"1.2.3.4.example.org": "1.2.3.4.example.org", "0x.example": "0x.example",
		long + ".example": long + ".example",
	} {
		h, err := policy.ParseHost(in)
		require.NoError(t, err, in)
		require.Equal(t, want, h.String(), in)
		require.NotContains(t, h.Name(), "..")
	}
}

func TestWhatIsOddIsRefusedNotGuessed(t *testing.T) {
	for _, in := range []string{
		"", ".", "..", ".example.org", "a..example.org", "example.org..", "-a.example.org", "a-.example.org",
		"a b.example.org", "a/b", "user@example.org", "example.org:80", "exa\x00mple.org", "a%2eexample.org",
		strings.Repeat("a", 64) + ".example", strings.Repeat("a.", 127) + "toolong",
		// Every notation that a resolver or dialer would take for an address.
		"127.1", "127.0.0.1.", "0x7f.1", "0x7f000001", "2130706433", "0177.0.0.1", "127.0.0.01", "1.2.3.4.5",
		"256.1.1.1", "0x7f.0.0.0x1", "example.0x10", "example.123", "１２７.0.0.1", "127。0。0。1", "①.example.1",
		"::ffff:127.0.0.1", "[::ffff:7f00:1]", "fe80::1%eth0", "[fe80::1%25eth0]", "[127.0.0.1]", "[::1", "::1]", "[]",
		"xn--groupcall-.example", "xn--0.example", "*.example.org",
	} {
		h, err := policy.ParseHost(in)
		if in == "127.0.0.1." { // a trailing dot is dropped, what is left is canonical
			require.NoError(t, err)
			continue
		}
		require.Error(t, err, "%q became %q", in, h)
		require.True(t, h.IsZero())
	}
}

func TestHostPatterns(t *testing.T) {
	for pattern, names := range map[string]map[string]bool{
		"www.example.org": {"www.example.org": true, "x.www.example.org": false, "example.org": false},
		"*.example.org":   {"www.example.org": true, "a.b.example.org": true, "example.org": false, "evilexample.org": false, "example.org.evil.test": false},
		"*.EXAMPLE.org.":  {"www.example.org": true},
		"g*-prod-*-sb.servicebus.windows.net": {
			"g0-prod-db3-001-sb.servicebus.windows.net": true, "gv11-prod-db3-sb.servicebus.windows.net": true,
			"g0-prod-sb.servicebus.windows.net": false, "g.x-prod-y-sb.servicebus.windows.net": false,
			"x.g0-prod-db3-sb.servicebus.windows.net": false, "g0-prod-db3-sb.servicebus.windows.net.evil.test": false,
		},
		"a.*.example.org": {"a.b.example.org": true, "a.b.c.example.org": false, "a.example.org": false},
		"192.0.2.1":       {"192.0.2.1": true, "192.0.2.10": false},
	} {
		p, err := policy.ParseHostPattern(pattern)
		require.NoError(t, err, pattern)
		for name, want := range names {
			require.Equal(t, want, p.Match(host(name)), "%s on %s", pattern, name)
		}
	}
	for _, bad := range []string{"*", "*gstatic.com", "*.", "*.*", "a.*", "a.*.org", "**.example.org", "*.192.0.2.1", "a*b..example.org", "w*w.org"} {
		_, err := policy.ParseHostPattern(bad)
		require.Error(t, err, bad)
	}
	require.False(t, policy.HostPattern{}.Match(policy.Host{}))
	require.False(t, policy.HostPattern{}.Match(host("example.org")))
}

func TestGlobs(t *testing.T) {
	for pattern, wants := range map[string]map[string]bool{
		"*.exe":      {"/a/SETUP.EXE": true, "/a.exe/b": false, "/exe": false, "/.exe": true},
		"/a/*":       {"/a/": true, "/a": false, "/a/b/c": true, "/b/a/": false, "/a?x": false},
		"*":          {"/": true, "": true},
		"/*":         {"/": true},
		"/a*b*c":     {"/abc": true, "/axxbxxc": true, "/axxcxxb": false, "/abcbc": true},
		"/results//": {"/results/": true},
	} {
		g := glob(pattern)
		for path, want := range wants {
			require.Equal(t, want, g.Match(policy.NewPath(path)), "%s on %s", pattern, path)
		}
	}
	for _, bad := range []string{"", "a/b", "exe", "/a?b",
		// No path that is judged could match these.
		"/a%20b/*", "*.exe;*", `/a\b`, "/a::*", "/a/../*", "/a/./b", "/a./*", "*.", "/a /b"} {
		_, err := policy.ParseGlob(bad)
		require.Error(t, err, bad)
	}
	require.False(t, policy.Glob{}.Match(policy.NewPath("/")))
}

func TestALongHostIsRefusedBeforeItIsNormalized(t *testing.T) {
	// UTS 46 over a name as long as a request head may be takes ten seconds.
	var name strings.Builder
	for i := range rune(20000) {
		name.WriteRune('一' + i)
	}
	for _, long := range []string{name.String(), strings.Repeat("ü.", 400), "xn--" + strings.Repeat("a", 2000)} {
		_, err := policy.ParseHost(long)
		require.ErrorContains(t, err, "is longer than 253 characters")
		_, err = policy.ParseHostPattern("*." + long)
		require.ErrorContains(t, err, "is longer than 253 characters")
		_, err = policy.ParseHostPattern("a*." + long)
		require.Error(t, err)
	}
	_, err := policy.ParseHost(strings.Repeat("ü", 64) + ".example")
	require.ErrorContains(t, err, "has a label longer than 63 characters")
	_, err = policy.ParseHost(strings.Repeat("münchen。", 10) + "example")
	require.NoError(t, err)
}
