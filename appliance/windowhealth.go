//go:build linux

package appliance

import (
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"gatehouse/appliance/console"
	"gatehouse/appliance/doctor"
)

// Health implements console.House: what can be told at once, without asking
// anybody, and what the doctor found last.
func (w window) Health() console.Health {
	h := console.Health{Version: w.Build.Version, Revision: w.Build.Revision, Go: w.Build.Go}
	for _, c := range w.standing() {
		h.Findings = append(h.Findings, findingOf(c))
	}
	if last := w.examined.Load(); last != nil {
		h.Doctor = &console.Examined{At: w.here(last.At), State: string(last.State), Report: last, Text: last.String()}
	}
	return h
}

func findingOf(c *doctor.Check) console.Finding {
	f := console.Finding{Name: c.Name, State: string(c.State), Says: c.Says, Fix: c.Fix}
	for _, part := range c.Parts {
		f.Parts = append(f.Parts, findingOf(part))
	}
	return f
}

// standing is how each part of the gate does.
func (a *Appliance) standing() []*doctor.Check {
	checks := []*doctor.Check{a.gateCheck()}
	add := func(name string, parts []*doctor.Check) {
		if len(parts) > 0 {
			checks = append(checks, doctor.Heading(name, parts...))
		}
	}
	add("machine", []*doctor.Check{a.diskCheck(), a.descriptorCheck(), descriptorsOpen(), clockKept()})
	checks = append(checks, a.decisionsCheck(), a.azureCheck())
	if a.feed != nil {
		add("syslog", []*doctor.Check{a.feed.lossCheck(a.Now())})
	}
	add("certificates", a.certificateChecks())
	add("published doors", a.entrances.checks())
	add("DNS servers", a.serverStandings())
	add("parent proxies", a.parentStandings())
	return checks
}

func (a *Appliance) serverStandings() (checks []*doctor.Check) {
	for _, s := range a.resolver.Standings() {
		switch {
		case s.Rests:
			checks = append(checks, doctor.Suspect(s.Upstream, "did not answer lately, and is asked after the others", "let the gate reach it, or take it out of dns.upstreams"))
		case s.Took > 0:
			checks = append(checks, doctor.Fine(s.Upstream, fmt.Sprintf("answers within %d ms", max(1, s.Took.Milliseconds()))))
		default:
			checks = append(checks, doctor.Fine(s.Upstream, "was not asked within the last minute"))
		}
	}
	return checks
}

func (a *Appliance) parentStandings() (checks []*doctor.Check) {
	passed, all := a.gate.PassedOver()
	for _, name := range all {
		if slices.Contains(passed, name) {
			checks = append(checks, doctor.Suspect(name, "failed lately, and is passed over for now", "gatehouse doctor tells what is wrong with it"))
			continue
		}
		checks = append(checks, doctor.Fine(name, "nothing is known against it"))
	}
	return checks
}

// descriptorsOpen counts those of this process.
func descriptorsOpen() *doctor.Check {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return doctor.Skipped("open descriptors", err.Error())
	}
	return doctor.Fine("open descriptors", fmt.Sprint(len(open)-1)) // without the one that reads them
}

// synchronised reports whether the kernel says that its clock is kept right.
func synchronised() bool {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	return err == nil && state != unix.TIME_ERROR
}

// clockKept asks the kernel whether something keeps its clock right. That is a
// question that changes nothing (adjtimex(2), modes 0), and yet a sandbox may forbid
// it.
func clockKept() *doctor.Check {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	switch {
	case err != nil:
		return doctor.Skipped("clock", "the kernel does not tell this process ("+err.Error()+"); the doctor compares it with others")
	case state == unix.TIME_ERROR:
		return doctor.Suspect("clock", "nothing on this machine says that it keeps the clock right; the doctor compares it with others", doctor.KeepClock)
	}
	return doctor.Fine("clock", fmt.Sprintf("is kept right, to within %s", (time.Duration(t.Maxerror)*time.Microsecond).Round(time.Millisecond)))
}
