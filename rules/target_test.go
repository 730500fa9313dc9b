package rules

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/policy"
)

func TestParseTarget(t *testing.T) {
	host, err := policy.ParseHost("www.example.org")
	require.NoError(t, err)
	html, err := policy.ParseMediaType("text/html")
	require.NoError(t, err)
	xml, err := policy.ParseMediaType("text/xml")
	require.NoError(t, err)
	dest := func(port uint16) policy.Dest { return policy.Dest{Host: host, Port: port} }
	for target, want := range map[string]policy.Case{
		"http://www.example.org": {Dest: dest(80), Method: "GET", Path: policy.NewPath("/")},
		"POST https://WWW.example.org:8443/a/%2Fb?q=1 <- text/xml -> text/html": {
			Dest: dest(8443), Secure: true, Method: "POST", Path: policy.NewPath("/a/%2Fb"),
			UploadStated: true, Upload: xml, TypeStated: true, Type: html,
		},
		"CONNECT www.example.org:443":                      {Kind: policy.CaseConnect, Dest: dest(443)},
		"DNS www.example.org":                              {Kind: policy.CaseDNS, Dest: dest(0)},
		"DNS www.example.org. AAAA = 2001:db8::1":          {Kind: policy.CaseDNS, Dest: dest(0), QueryType: policy.TypeAAAA, Addr: netip.MustParseAddr("2001:db8::1")},
		"DNS www.example.org https":                        {Kind: policy.CaseDNS, Dest: dest(0), QueryType: 65},
		"DNS www.example.org TYPE99 = 192.0.2.1":           {Kind: policy.CaseDNS, Dest: dest(0), QueryType: 99, Addr: netip.MustParseAddr("192.0.2.1")},
		"  GET   http://www.example.org/a  ->  text/html ": {Dest: dest(80), Method: "GET", Path: policy.NewPath("/a"), TypeStated: true, Type: html},
	} {
		got, err := ParseTarget(target)
		require.NoError(t, err, target)
		require.Equal(t, want, got, target)
	}
}

func TestTargetsThatCannotBeRead(t *testing.T) {
	for target, says := range map[string]string{
		"":                                     "is neither METHOD URL",
		"www.example.org":                      "is neither METHOD URL",
		"get http://www.example.org/":          "in capitals: GET",
		"GET ftp://www.example.org/":           "neither http nor https",
		"CONNECT www.example.org":              "has no port",
		"CONNECT www.example.org:0":            "is no port",
		"CONNECT a:1 b:2":                      "is neither METHOD URL",
		"GET http://www.example.org:99999/":    "is no port",
		"GET http://127.1/":                    "four decimal parts",
		"GET http://www.example.org/ -> html":  "type/subtype",
		"GET http://www.example.org/ text/xml": "is neither METHOD URL",
		"DNS":                                  "is neither METHOD URL",
		"DNS www.example.org = x":              "is no address",
		"DNS www.example.org BOGUS":            "is no DNS type",
		"DNS www.example.org A 192.0.2.1":      "is neither METHOD URL",
	} {
		_, err := ParseTarget(target)
		require.ErrorContains(t, err, says, target)
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"GET http://h/ -> a/b", "CONNECT [::1]:443", "DNS n A = 1.2.3.4", "http://u@h:80/%zz"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseTarget(s)
		if err == nil {
			require.False(t, c.Dest.Host.IsZero())
			require.Equal(t, c.Kind == policy.CaseDNS, c.Dest.Port == 0)
		}
	})
}
