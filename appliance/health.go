//go:build linux

package appliance

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"gatehouse/policy"
)

// healthz answers 200 while the process answers at all.
func healthz(w http.ResponseWriter, _ *http.Request) {
	plain(w)
	fmt.Fprintln(w, "ok")
}

// readyz answers 200 while a policy is in force, and says what is not as it
// should be.
func (a *Appliance) readyz(w http.ResponseWriter, _ *http.Request) {
	plain(w)
	s := a.rulebook.Status()
	if s.Loaded == nil {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	for _, line := range a.state() {
		fmt.Fprintln(w, line)
	}
}

// staleAfter is the age at which Azure's service tags are called old: Microsoft
// publishes them weekly and says that new ranges are not used for a week.
// outdatedAfter is the age at which that is an error in the log.
const (
	staleAfter    = 30 * 24 * time.Hour
	outdatedAfter = 120 * 24 * time.Hour
)

// state says in sentences what is in force and what is not as it should be.
func (a *Appliance) state() []string {
	s := a.rulebook.Status()
	var lines []string
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	if s.Loaded == nil {
		say("not ready: no rules are in force; everything is refused")
	} else {
		say("ready: %d rules in force since %s, from the %s, sha256 %s", s.Loaded.RuleCount,
			s.Since.Format(time.RFC3339), s.Source, s.Loaded.SHA256)
		say("mode: %s", s.Policy().Mode(a.Now()))
	}
	if s.Policy().Mode(a.Now()) == policy.Monitor {
		say("warning: monitor mode: what the rules would refuse is let through")
	}
	if s.Source == FromLastGood {
		say("warning: the last good file is in force, because %s cannot be loaded", s.File)
	}
	if s.Held != "" {
		say("warning: %s was not taken: %s", s.File, s.Held)
	}
	for _, line := range brief(s.Refused) {
		say("problem: %s", line)
	}
	lines = append(lines, s.unenforced()...)
	lines = append(lines, a.ca.state()...)
	lines = append(lines, a.entrances.state()...)
	if trouble := a.nameplate.state(); trouble != "" {
		say("warning: listen.dns_tls: %s", trouble)
	}
	if trouble := a.wall.Trouble(); trouble != "" {
		say("warning: the firewall is not as the rules have it: %s", trouble)
	}
	if s.Tags != "" {
		say("warning: %s", s.Tags)
	}
	if age := a.Now().Sub(a.tags.file().Date); !a.tags.file().Date.IsZero() && age > staleAfter {
		say("warning: the Azure service tags are %d days old; import a current file by gatehouse azure import", int(age.Hours()/24))
	}
	return lines
}

// unenforced names each clause that cannot be checked: a line for each rule, at
// most mostProblems of them.
func (s *Status) unenforced() []string {
	if s.Loaded == nil || len(s.Loaded.Unenforced) == 0 {
		return nil
	}
	all := s.Loaded.Unenforced
	lines := []string{fmt.Sprintf("note: clauses of the rules that are not enforced, because they speak of what is inside TLS: %d", len(all))}
	for i := 0; i < len(all); {
		u, clauses := all[i], all[i].Clause
		for i++; i < len(all) && all[i].Rule == u.Rule; i++ {
			clauses += ", " + all[i].Clause
		}
		if len(lines) > mostProblems {
			return append(lines, "note: and more; gatehouse check names all of them")
		}
		lines = append(lines, fmt.Sprintf("note: not enforced: %s of %s (line %d): %s", clauses, u.Rule, u.Line, u.Why))
	}
	return lines
}

func plain(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
}

// text is how outcomes are told on the admin listener and by the CLI.
func (o Outcome) text() string {
	var b strings.Builder
	switch {
	case o.Taken:
		b.WriteString("the rules file is in force\n")
	case o.Held != "":
		b.WriteString("the rules file was not taken: " + o.Held + "\n")
	default:
		b.WriteString("the rules file cannot be loaded; the rules in force stay\n")
	}
	for _, c := range o.Changes {
		b.WriteString("  " + c + "\n")
	}
	if o.Taken && len(o.Changes) == 0 {
		b.WriteString("  no rule changes\n")
	}
	for _, p := range o.Problems {
		b.WriteString("\n" + p.String())
	}
	return b.String()
}
