package appliance

import (
	"crypto/tls"
	"fmt"
	"slices"
	"time"

	"gatehouse/appliance/syslog"
	"gatehouse/internal/keypair"
	"gatehouse/internal/wholefile"
)

// syslog checks the keys of [log] that speak of a syslog server.
func (c *configCheck) syslog() {
	if !slices.Contains(syslog.Facilities(), c.Log.SyslogFacility) {
		c.report("log.syslog_facility", codeSetting, fmt.Sprintf("%q is no facility of syslog", c.Log.SyslogFacility), `syslog_facility = "local0"`,
			"RFC 5424 has kern, user, daemon, auth, authpriv and others, and local0 to local7 for what is none of them")
	}
	if c.Log.SyslogCertificate == "" {
		return
	}
	if c.Log.Syslog.Way != syslog.TLS {
		c.report("log.syslog_certificate", codeSetting, "there is no server of tls:// that would be shown the certificate", `syslog = "tls://siem.example.org"`, "")
	}
	// One that has ended is told of when the server is asked: it must not keep the gate shut.
	if _, err := clientPair(c.Log.SyslogCertificate, time.Time{}); err != nil {
		c.report("log.syslog_certificate", codeSetting, err.Error(), "name a file with a certificate and its key in PEM, or leave the key out",
			"the syslog server is shown it")
	}
}

// clientPair reads the certificate that a syslog server is shown, with its key; the
// zero now asks for no validity.
func clientPair(path string, now time.Time) (*tls.Certificate, error) {
	text, err := wholefile.Read(path, mostText)
	if err != nil {
		return nil, fmt.Errorf("log.syslog_certificate: %w", err)
	}
	pair, err := keypair.ParseClient(text, text, now)
	if err != nil {
		return nil, fmt.Errorf("log.syslog_certificate: %s: %w", path, err)
	}
	return pair, nil
}
