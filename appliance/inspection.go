package appliance

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"gatehouse/internal/ca"
	"gatehouse/internal/wholefile"
	"gatehouse/rules"
)

// CAFolder is the folder of the inspection CA.
func (c *Config) CAFolder() string {
	if filepath.IsAbs(c.Inspection.Dir) {
		return c.Inspection.Dir
	}
	return filepath.Join(c.State.Dir, c.Inspection.Dir)
}

// Roots are what the certificates of origins are verified with where the gate
// looks inside TLS: the system's, and those of tls.ca_file. Nil: the system's.
func (c *Config) Roots() (*x509.CertPool, error) {
	if c.TLS.CAFile == "" {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a system without any: then only ours
	}
	text, err := wholefile.Read(c.TLS.CAFile, mostText)
	if err != nil {
		return nil, fmt.Errorf("tls.ca_file: %w", err)
	}
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("tls.ca_file: %s holds no certificate in PEM", c.TLS.CAFile)
	}
	return pool, nil
}

// caShelf holds the inspection CA in use. Without one, nothing is inspected: what
// the rules permit only if the gate looks inside is refused.
type caShelf struct {
	dir     string // empty: inspection is off
	now     func() time.Time
	current atomic.Pointer[ca.Authority] // nil: there is none, and trouble says why
	trouble atomic.Pointer[error]
	judged  atomic.Pointer[string]
}

func newCAShelf(c *Config, now func() time.Time) *caShelf {
	s := &caShelf{now: now}
	if c.Inspection.Enabled {
		s.dir = c.CAFolder()
	}
	return s
}

// errOff says that nothing is inspected because nobody asked for it.
var errOff = errors.New("inspection is off")

// load takes the CA from its folder. Where that fails there is none from now on:
// a key that is gone, or that others have read, must not go on signing.
func (s *caShelf) load() error {
	if s.dir == "" {
		return errOff
	}
	a, err := ca.Load(s.dir, s.now())
	s.current.Store(a)
	s.trouble.Store(&err)
	digest := lookOf(a, err).digest
	s.judged.Store(&digest)
	return err
}

// refuse takes a CA out of use with which the gate cannot sign.
func (s *caShelf) refuse(why error) {
	s.current.Store(nil)
	s.trouble.Store(&why)
}

// authority is the CA in use, nil where there is none.
func (s *caShelf) authority() *ca.Authority { return s.current.Load() }

// failure is why there is no CA although inspection is on; nil where there is one.
func (s *caShelf) failure() error {
	if err := s.trouble.Load(); err != nil {
		return *err
	}
	return nil
}

// vouches reports whether the CA may vouch for a host. Where there is none, that
// is told elsewhere and not of each rule.
func (s *caShelf) vouches(host string) bool {
	a := s.authority()
	return a == nil || a.Covers(host)
}

// look is what a watcher sees: not the files but what has become of them, for a
// mode or an owner that changes, or a day that comes, matters as much.
func (s *caShelf) look() sight { return lookOf(ca.Load(s.dir, s.now())) }

func lookOf(a *ca.Authority, err error) sight {
	sum := sha256.New()
	if err != nil {
		fmt.Fprint(sum, err)
	} else {
		sum.Write(a.Present().Certificate.Raw)
		for _, c := range a.Roots() {
			sum.Write(c.Raw)
		}
	}
	return sight{digest: hex.EncodeToString(sum.Sum(nil)), whole: true}
}

// Judged is the digest of what was loaded last.
func (s *caShelf) Judged() string {
	if d := s.judged.Load(); d != nil {
		return *d
	}
	return ""
}

// warnCA is how long before its end an inspection CA is spoken of: its successor
// has to reach every client before.
const warnCA = 60 * 24 * time.Hour

// state says what there is to say of the CA, a sentence each.
func (s *caShelf) state() []string {
	a := s.authority()
	switch {
	case s.dir == "":
		return nil
	case a == nil:
		return []string{fmt.Sprintf("warning: inspection is on and cannot begin: %v; until then hosts whose rules need a look inside TLS are refused (no-policy), all others go by their outer rules", s.failure())}
	}
	now, c := s.now(), a.Present().Certificate
	lines := []string{fmt.Sprintf("inspection: on, for %s, under the CA %q until %s", few(a.Present().Domains()), c.Subject.CommonName, c.NotAfter.Format(time.DateOnly))}
	if next, ok := a.Next(); ok {
		lines = append(lines, fmt.Sprintf("inspection: the CA %q signs from %s on; every client must trust it by then", next.Certificate.Subject.CommonName, next.Begins().Format(time.DateOnly)))
	}
	if words := s.ending(now); words != "" {
		lines = append(lines, "warning: "+words)
	}
	return lines
}

// ending says that the CA ends soon and that nothing is there to follow it; empty
// where there is time, or a successor.
func (s *caShelf) ending(now time.Time) string {
	a := s.authority()
	if a == nil {
		return ""
	}
	end := a.Present().Certificate.NotAfter
	if next, ok := a.Next(); ok && !next.Begins().After(end) || end.Sub(now) > warnCA {
		return ""
	}
	return fmt.Sprintf("the inspection CA ends in %d days, on %s; run: gatehouse ca init --rotate, and have every client trust the new one before",
		int(end.Sub(now).Hours()/24), end.Format(time.DateOnly))
}

// Inspectable lists the hosts that the rules file lets the gate look into,
// whether or not inspection is on and whatever CA there is. Where the file cannot
// be loaded the problems say why.
func (c *Config) Inspectable(f Files) ([]rules.Inspectable, []rules.Problem, error) {
	env, err := c.EnvNow()
	if err != nil {
		return nil, nil, err
	}
	text, err := f.ReadRules()
	if err != nil {
		return nil, nil, fmt.Errorf("the rules say which hosts are looked into: %w; name a rules file by --rules", err)
	}
	env.Vouches = nil
	loaded, problems := rules.Load(f.RulesName(), text, env)
	if loaded == nil {
		return nil, problems, nil
	}
	return loaded.Inspectable, problems, nil
}
