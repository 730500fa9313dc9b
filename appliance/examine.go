//go:build linux

package appliance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"gatehouse/appliance/doctor"
	"gatehouse/dnsallow"
	"gatehouse/policy"
	"gatehouse/proxy"
	"gatehouse/rules"
)

// longestExamination bounds a run of the doctor in all.
const longestExamination = 4 * time.Minute

// Examine has the doctor try what the rules permit, by a configuration and rules
// that no running gate has in force.
func Examine(ctx context.Context, files Files, config *Config, loaded *rules.Loaded, o doctor.Options) (doctor.Report, error) {
	a := New(Options{Files: files, Config: config, Log: slog.New(slog.DiscardHandler)})
	defer a.resolver.Close()
	a.doors = &listeners{}
	if tags, err := a.tags.read(); err == nil {
		a.tags.swap(tags)
	}
	a.ca.load() // what is wrong with it is a check
	gate := doctor.Suspect("gate", "no running gatehouse answers at "+filepath.Join(config.State.Dir, socketName)+"; this was tried without it, by "+files.RulesName(),
		"start it: gatehouse run")
	return a.examine(ctx, loaded.Policy, o, gate)
}

// Examine has the doctor try what the rules in force permit.
func (a *Appliance) Examine(ctx context.Context, o doctor.Options) (doctor.Report, error) {
	report, err := a.examine(ctx, a.live.Policy(), o, a.gateCheck())
	if err == nil {
		a.examined.Store(&report)
	}
	for pack, ready := range report.Ready {
		a.tally.PackTried(pack, ready)
		a.troubles.packTried(pack, ready)
	}
	return report, err
}

func (a *Appliance) examine(ctx context.Context, p *policy.Policy, o doctor.Options, gate *doctor.Check) (doctor.Report, error) {
	ctx, cancel := context.WithTimeout(ctx, longestExamination+o.Idle)
	defer cancel()
	servers := doctor.Heading("DNS servers", a.upstreamChecks(ctx, p)...)
	if allFailed(servers.Parts) {
		o.NoNames = "no DNS server answers"
	}
	d := doctor.New(o, doctor.Deps{Policy: p, Resolver: a.resolver, Gate: doctor.Through(a.gate), Roots: a.roots(), Lookup: a.resolver.Addresses, Now: a.Now, Own: a.doors.own})
	found, ready, err := d.Requirements(ctx)
	if err != nil {
		return doctor.Report{}, err
	}
	checks := []*doctor.Check{
		gate,
		doctor.Heading("machine", a.diskCheck(), a.descriptorCheck(), clockKept(), a.decisionsCheck()),
		a.azureCheck(),
		servers,
	}
	if ends := a.certificateChecks(); len(ends) > 0 {
		checks = append(checks, doctor.OwnHeading("certificates", ends...))
	}
	if doors := a.entrances.checks(); len(doors) > 0 {
		checks = append(checks, doctor.OwnHeading("published doors", doors...))
	}
	if behind := d.Published(ctx); len(behind) > 0 {
		checks = append(checks, doctor.OwnHeading("published servers", behind...))
	}
	if a.feed != nil {
		checks = append(checks, doctor.OwnHeading("syslog", a.feed.check(ctx), a.feed.lossCheck(a.Now())))
	}
	if len(a.Config.Upstreams) > 0 {
		checks = append(checks, doctor.Heading("parent proxies", a.parentChecks(ctx)...))
	}
	if checks = append(checks, found...); o.Idle > 0 {
		if c := d.Survival(ctx); c != nil {
			checks = append(checks, c)
		}
	}
	return doctor.NewReport(a.Now(), ready, checks...), nil
}

// parentChecks connects to each parent proxy by itself: one that is only asked
// where another fails is in no place's way.
func (a *Appliance) parentChecks(ctx context.Context) (checks []*doctor.Check) {
	ctx, cancel := context.WithTimeout(ctx, a.Config.Limits.Dial.Duration)
	defer cancel()
	for _, t := range a.gate.TryParents(ctx) {
		var fault *proxy.ParentFault
		if errors.As(t.Err, &fault) {
			checks = append(checks, doctor.Bad(t.Parent, fault.Error(), fault.Fix()))
			continue
		}
		checks = append(checks, doctor.Fine(t.Parent, t.At.String()+" answers"))
	}
	return checks
}

func allFailed(checks []*doctor.Check) bool {
	return !slices.ContainsFunc(checks, func(c *doctor.Check) bool { return c.State != doctor.Failed })
}

// gateCheck says what is in force.
func (a *Appliance) gateCheck() *doctor.Check {
	s := a.rulebook.Status()
	switch {
	case s.Loaded == nil:
		return doctor.Bad("gate", "no rules are in force; everything is refused", "gatehouse check "+a.Files.RulesName())
	case s.Source == FromLastGood:
		return doctor.Suspect("gate", "the last good file is in force, because "+s.File+" cannot be loaded", "gatehouse check "+a.Files.RulesName())
	case s.Policy().Mode(a.Now()) == policy.Monitor:
		return doctor.Suspect("gate", "monitor mode: what the rules would refuse is let through", `mode = "enforce"`)
	}
	return doctor.Fine("gate", fmt.Sprintf("%d rules are in force, from the %s", s.Loaded.RuleCount, s.Source))
}

// leastDisk is what must be free where gatehouse keeps things.
const leastDisk = 64 << 20

func (a *Appliance) diskCheck() *doctor.Check {
	dir := a.Config.State.Dir
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return doctor.Suspect("disk", "state.dir "+dir+": "+err.Error(), "without it there is no last good file: make the folder, or change state.dir")
	}
	free := int64(fs.Bavail) * fs.Bsize
	says := fmt.Sprintf("%d MiB are free at %s", free>>20, dir)
	if free < leastDisk {
		return doctor.Bad("disk", says, "free some, or lower log.mib and log.days")
	}
	return doctor.Fine("disk", says)
}

func (a *Appliance) azureCheck() *doctor.Check {
	f := a.tags.file()
	if f.Date.IsZero() {
		return doctor.Suspect("Azure addresses", fmt.Sprintf("the list has change number %d and no date", f.ChangeNumber), "gatehouse azure import a file with its own name")
	}
	age := a.Now().Sub(f.Date)
	says := fmt.Sprintf("the list of %s is %d days old", f.Date.Format(time.DateOnly), int(age.Hours()/24))
	const fix = "download the current ServiceTags_Public file, then: gatehouse azure import FILE"
	switch {
	case age > outdatedAfter:
		return doctor.Bad("Azure addresses", says, fix)
	case age > staleAfter:
		return doctor.Suspect("Azure addresses", says, fix)
	}
	return doctor.Fine("Azure addresses", says)
}

// upstreamChecks asks each DNS server by itself for a name that the rules list.
func (a *Appliance) upstreamChecks(ctx context.Context, p *policy.Policy) (checks []*doctor.Check) {
	permit, ok := askable(p, a.Now())
	if !ok {
		return []*doctor.Check{doctor.Skipped("servers", "no rule lists a name in full")}
	}
	for _, u := range a.upstreams() {
		r := dnsallow.NewResolver(dnsallow.ResolverConfig{Upstreams: []dnsallow.Upstream{u}}, dnsallow.ResolverDeps{Now: a.Now})
		began := a.Now()
		_, _, err := r.Resolve(ctx, permit)
		took := a.Now().Sub(began)
		r.Close()
		if err != nil {
			checks = append(checks, doctor.Bad(u.String(), fmt.Sprintf("%s: %v", permit.Dest().Host, err), "let the gate reach it, or take it out of dns.upstreams"))
			continue
		}
		checks = append(checks, doctor.Fine(u.String(), fmt.Sprintf("answers for %s within %d ms", permit.Dest().Host, took.Milliseconds())))
	}
	if len(checks) == 0 {
		checks = append(checks, doctor.Bad("servers", "there is none to ask", `upstreams = ["192.0.2.53"] in [dns], with the address of yours`))
	}
	return checks
}

// askable is a permit for the first name that an allow lists in full.
func askable(p *policy.Policy, at time.Time) (policy.Permit, bool) {
	for _, r := range p.Rules() {
		if r.Deny {
			continue
		}
		client, ok := doctor.Client(r.Clients)
		for _, h := range r.Hosts {
			name, exact := h.Exact()
			if !ok || !exact || name.IsIP() {
				continue
			}
			if v, permit := p.Query(policy.Query{At: at, Client: client, Name: name}); v.Allowed() {
				return permit, true
			}
		}
	}
	return policy.Permit{}, false
}
