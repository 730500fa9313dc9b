//go:build linux

package appliance

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"gatehouse/appliance/doctor"
)

// endsSoon is how long before its end a certificate is worth a warning.
const endsSoon = 14 * 24 * time.Hour

// renewPair is what to do about a certificate that the gate shows.
const renewPair = "put a new certificate and its key in their place; they are read again by themselves"

// doorCertificate is a certificate that the gate shows.
type doorCertificate struct {
	name    string            // of the door that shows it
	leaf    *x509.Certificate // nil: there is none that could be shown
	trouble error             // of what lies in its place now
}

// check says until when it holds.
func (w doorCertificate) check(now time.Time) *doctor.Check {
	if w.trouble != nil {
		return doctor.Bad(w.name, w.trouble.Error(), renewPair)
	}
	return certificateCheck(w.name, w.leaf, now, renewPair)
}

// certificates are those that the gate shows: the console's, that of DNS over TLS,
// those of published doors.
func (a *Appliance) certificates() []doorCertificate {
	return slices.Concat(a.consoleCertificate(), a.nameplate.certificate(), a.entrances.certificates())
}

// certificateEnds is when each of them ends, by the name of its door; the zero time
// where there is none that could be shown.
func (a *Appliance) certificateEnds() map[string]time.Time {
	ends := map[string]time.Time{}
	for _, w := range a.certificates() {
		ends[w.name] = time.Time{}
		if w.leaf != nil {
			ends[w.name] = w.leaf.NotAfter
		}
	}
	return ends
}

// certificateChecks say of each certificate that the gate shows or signs with until
// when it holds.
func (a *Appliance) certificateChecks() (checks []*doctor.Check) {
	for _, w := range a.certificates() {
		checks = append(checks, w.check(a.Now()))
	}
	if a.Config.Inspection.Enabled {
		checks = append(checks, a.caCheck())
	}
	return checks
}

// consoleCertificate is empty where the admin listener speaks no TLS.
func (a *Appliance) consoleCertificate() []doorCertificate {
	if a.Config.Listen.WebConfig == "" {
		return nil
	}
	leaf, err := webConfig(a.Config.Listen.WebConfig).certificate()
	if leaf == nil && err == nil {
		return nil
	}
	return []doorCertificate{{name: "console", leaf: leaf, trouble: err}}
}

// certificate is the one that the admin listener shows; nil: it speaks no TLS.
func (w webConfig) certificate() (*x509.Certificate, error) {
	c, err := w.read()
	if err != nil || !c.TLSConfig.IsEnabled() {
		return nil, err
	}
	c.TLSConfig.SetDirectory(filepath.Dir(string(w)))
	text := []byte(c.TLSConfig.TLSCert)
	if len(text) == 0 {
		if text, err = readPEM(c.TLSConfig.TLSCertPath); err != nil {
			return nil, fmt.Errorf("the certificate of the admin listener cannot be read: %w", err)
		}
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("the certificate of the admin listener is none in PEM form")
	}
	return x509.ParseCertificate(block.Bytes)
}

// certificateCheck says until when a certificate holds.
func certificateCheck(name string, leaf *x509.Certificate, now time.Time, fix string) *doctor.Check {
	words := ending(leaf, now)
	switch {
	case words == "":
		return doctor.Fine(name, "its certificate holds until "+leaf.NotAfter.Format(time.DateOnly))
	case now.After(leaf.NotAfter):
		return doctor.Bad(name, words, fix)
	}
	return doctor.Suspect(name, words, fix)
}

// ending says that a certificate has ended, or will soon; empty: neither.
func ending(leaf *x509.Certificate, now time.Time) string {
	switch end := leaf.NotAfter; {
	case now.After(end):
		return "its certificate ended on " + end.Format(time.DateOnly) + "; clients refuse it"
	case end.Sub(now) < endsSoon:
		return "its certificate ends on " + end.Format(time.DateOnly) + "; put a new one in its place"
	}
	return ""
}

// caCheck says whether the gate can look inside TLS, and for how long.
func (a *Appliance) caCheck() *doctor.Check {
	authority := a.ca.authority()
	if authority == nil {
		return doctor.Bad("inspection CA", fmt.Sprint(a.ca.failure()), "gatehouse ca init")
	}
	if words := a.ca.ending(a.Now()); words != "" {
		return doctor.Suspect("inspection CA", words, "gatehouse ca init --rotate")
	}
	return doctor.Fine("inspection CA", "in use until "+authority.Present().Certificate.NotAfter.Format(time.DateOnly))
}
