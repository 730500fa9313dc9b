package policy

import "sync"

// The names below are facts of the world, not of a school: their makers' own
// words are cited beside them.
var (
	// canaries tell a device whether encrypted DNS or a relay may be used; they
	// work only if the answer is negative: Firefox's canary, Apple's "Prepare
	// your network or web server for iCloud Private Relay", RFC 9462 (DDR).
	canaries = map[string]bool{
		"use-application-dns.net": true, "mask.icloud.com": true,
		"mask-h2.icloud.com": true, "_dns.resolver.arpa": true,
	}
	// neverInspected: the Service Bus client checks the certificate its own
	// way; "Apple services will fail any connection that uses HTTPS
	// Interception" (Apple, 101555); Google's hosts "must bypass SSL
	// inspection" (Android Enterprise Network Requirements).
	neverInspected = sync.OnceValue(func() hostIndex {
		x := newHostIndex(0)
		for _, s := range []string{
			"*.servicebus.windows.net",
			"*.apple.com", "*.mzstatic.com", "*.icloud.com", "*.cdn-apple.com",
			"play.google.com", "android.com", "*.android.com", "*.googleapis.com",
			"*.google.com", "gstatic.com", "*.gstatic.com", "googleusercontent.com",
			"*.googleusercontent.com", "*.gvt1.com", "*.gvt2.com", "*.gvt3.com", "*.ggpht.com",
			"google-analytics.com", "*.google-analytics.com",
		} {
			p, err := ParseHostPattern(s)
			if err != nil {
				panic(err) // a constant above is wrong
			}
			x.add(ListedHost{HostPattern: p}, 0)
		}
		return x
	})
)

// IsCanary reports whether a name must be answered NXDOMAIN whatever a rule says.
func IsCanary(h Host) bool { return canaries[h.name] }

// NeverInspected reports whether TLS to a host is never looked into, whatever a
// rule says.
func NeverInspected(h Host) bool {
	if h.IsIP() {
		return false
	}
	never := false
	x := neverInspected()
	x.each(h, func(candidate) bool { never = true; return false })
	return never
}
