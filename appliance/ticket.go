//go:build linux

package appliance

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"gatehouse/appliance/doctor"
	"gatehouse/internal/flow"
	"gatehouse/policy"
	"gatehouse/rules"
)

// ticket is what a vendor is told: one text, made to be sent outside the school.
// What is in it is picked field by field; whatever else the gate knows (own rules,
// users, settings, keys) never gets near it.
type ticket struct {
	at      time.Time
	zone    *time.Location
	build   Build
	file    string // the rules file, without its folder
	azure   string // which list of its addresses is in use
	paths   *strings.Replacer
	policy  *policy.Policy
	report  doctor.Report
	records []*flow.Record // newest first
	veil    *veil
}

// mostRefusals bounds the kinds of refusals that a ticket tells of.
const mostRefusals = 60

// Ticket has the doctor try what the packs in use need, and tells it together
// with what was refused to them, for the vendor.
func (a *Appliance) Ticket(ctx context.Context, o doctor.Options) (string, error) {
	report, err := a.Examine(ctx, o)
	if err != nil {
		return "", err
	}
	return a.ticket(a.live.Policy(), report, a.ring.Recent(keptDecisions)).String(), nil
}

// Ticket does the same where no running gate has the rules in force; what was
// refused is what the decision log says, where it is a file in JSON.
func Ticket(ctx context.Context, files Files, config *Config, loaded *rules.Loaded, o doctor.Options, build Build) (string, error) {
	report, err := Examine(ctx, files, config, loaded, o)
	if err != nil {
		return "", err
	}
	a := &Appliance{Options: Options{Files: files, Config: config, Build: build, Now: time.Now}, tags: config.newTags()}
	if tags, err := a.tags.read(); err == nil {
		a.tags.swap(tags)
	}
	return a.ticket(loaded.Policy, report, config.lastDecisions()).String(), nil
}

// lastDecisions are those of the decision log's present piece, newest first.
func (c *Config) lastDecisions() []*flow.Record {
	if c.Log.Decisions == "stdout" || c.Log.Format != "json" {
		return nil
	}
	f, _, err := flow.OpenPiece(c.Log.Decisions)
	if err != nil {
		return nil
	}
	defer f.Close()
	var list []*flow.Record
	flow.Read(f, func(r *flow.Record) {
		if list = append(list, r); len(list) == 2*keptDecisions {
			list = slices.Clone(list[keptDecisions:])
		}
	})
	slices.Reverse(list)
	return list
}

func (a *Appliance) ticket(p *policy.Policy, report doctor.Report, records []*flow.Record) *ticket {
	report = report.Packs()
	t := &ticket{
		at: a.Now(), zone: a.Config.Timezone.Zone(), build: a.Build, file: filepath.Base(a.Files.RulesName()),
		azure:  fmt.Sprintf("change number %d, %s", a.tags.file().ChangeNumber, a.azureCheck().Says),
		paths:  strings.NewReplacer(a.Files.RulesName(), filepath.Base(a.Files.RulesName()), a.Config.State.Dir, "state.dir"),
		policy: p, report: report, records: records, veil: newVeil(a.Config, p, a.Now()),
	}
	t.misled(report.Checks)
	return t
}

// misled has the addresses shown to which a vendor's name led and must not lead:
// they are what is wrong.
func (t *ticket) misled(checks []*doctor.Check) {
	for _, c := range checks {
		for _, a := range c.Led {
			t.veil.shown[a.Unmap()] = true
		}
		t.misled(c.Parts)
	}
}

// String is the ticket.
func (t *ticket) String() string {
	var b strings.Builder
	t.head(&b)
	t.packs(&b)
	t.refusals(&b)
	b.WriteString("\nWHAT THE DOCTOR FOUND\n")
	b.WriteString(t.veil.text(t.paths.Replace(t.report.Whole())))
	return b.String()
}

func (t *ticket) head(b *strings.Builder) {
	mode := "no rules in force"
	if t.policy != nil {
		mode = t.policy.Mode(t.at).String() + " mode, rules " + t.policy.SHA256()
	}
	fmt.Fprintf(b, `GATEHOUSE TICKET
made %s by gatehouse %s (%s, %s/%s), %s
Azure addresses: %s
Left out: query strings, logins, header values, contents, keys, and whatever is not
about the packs below. Addresses and names of the school's own network are numbered,
like [internal 1]; shown is only an address to which a vendor's name led and must not.
`, t.moment(t.at), t.build.Version, t.build.Go, runtime.GOOS, runtime.GOARCH, mode, t.azure)
}

func (t *ticket) moment(at time.Time) string {
	return at.In(t.zone).Format("2006-01-02 15:04:05 -0700")
}

// packs lists the rules of the packs, and when each last carried a passage.
func (t *ticket) packs(b *strings.Builder) {
	carried := map[string]time.Time{}
	for _, r := range t.records {
		name := r.Verdict.RuleName()
		if passes(r.Verdict) && !r.Verdict.Reason.Upstream() && r.Surface != policy.DNS && carried[name].IsZero() {
			carried[name] = r.Time
		}
	}
	b.WriteString("\nPACKS IN USE\n")
	said := ""
	for _, r := range t.policy.Rules() {
		if r.Deny || r.Pack == "" {
			continue
		}
		if r.Pack != said {
			said = r.Pack
			fmt.Fprintf(b, "%s (%s, line %d)\n", r.Pack, t.file, r.Line)
		}
		last := "nothing carried lately"
		if at := carried[r.Name]; !at.IsZero() {
			last = "last carried " + t.moment(at)
		}
		fmt.Fprintf(b, "  %s: %s port %s; %s\n", r.Name, hostsOf(r), portsOf(r), last)
	}
	if said == "" {
		b.WriteString("none\n")
	}
}

func hostsOf(r *policy.Rule) string {
	var hosts []string
	for _, h := range r.Hosts {
		hosts = append(hosts, h.String())
	}
	return strings.Join(hosts, ", ")
}

func portsOf(r *policy.Rule) string {
	var ports []string
	for _, p := range r.Ports {
		if p.First == p.Last {
			ports = append(ports, fmt.Sprint(p.First))
		} else {
			ports = append(ports, fmt.Sprintf("%d-%d", p.First, p.Last))
		}
	}
	return strings.Join(ports, ", ")
}

// refusals tells each kind of passage of the packs' hosts that was refused or
// failed, the newest first.
func (t *ticket) refusals(b *strings.Builder) {
	type kind struct{ passage, reason, rule string }
	type seen struct {
		last  *flow.Record
		first time.Time
		n     int
	}
	kinds := map[kind]*seen{}
	var order []*seen
	for _, r := range t.records {
		if r.Open || passes(r.Verdict) && !r.Verdict.Reason.Upstream() || !t.concerns(r) {
			continue
		}
		k := kind{passage(r), r.Verdict.Reason.String(), r.Verdict.RuleName()}
		s := kinds[k]
		if s == nil {
			s = &seen{last: r}
			kinds[k] = s
			order = append(order, s)
		}
		s.n += max(1, r.Repeats)
		s.first = r.Time
	}
	fmt.Fprintf(b, "\nREFUSED OR FAILED, of the last %d decisions, the newest first\n", len(t.records))
	for i, s := range order {
		if i == mostRefusals {
			fmt.Fprintf(b, "and %d more kinds\n", len(order)-i)
			break
		}
		t.refusal(b, s.last, s.n, s.first)
	}
	if len(order) == 0 {
		b.WriteString("nothing\n")
	}
}

// concerns reports whether a passage is the packs' business: by its rule, or its
// host.
func (t *ticket) concerns(r *flow.Record) bool {
	if r.Verdict.Rule != nil && r.Verdict.Rule.Pack != "" {
		return true
	}
	host, err := policy.ParseHost(r.Host)
	return err == nil && packHost(t.policy, host)
}

func packHost(p *policy.Policy, host policy.Host) bool {
	for _, r := range p.Rules() {
		if r.Deny || r.Pack == "" {
			continue
		}
		if slices.ContainsFunc(r.Hosts, func(h policy.ListedHost) bool { return h.Match(host) }) {
			return true
		}
	}
	return false
}

func (t *ticket) refusal(b *strings.Builder, r *flow.Record, n int, first time.Time) {
	fmt.Fprintf(b, "%s %s %s\n", t.moment(r.Time), r.ID, t.veil.text(passage(r)))
	reason := r.Verdict.Reason.String()
	if words := why(reason); words != "" {
		reason += ": " + words
	}
	fmt.Fprintf(b, "  %s %s", r.Verdict, reason)
	if rule := r.Verdict.Rule; rule != nil && rule.Pack != "" {
		fmt.Fprintf(b, "; rule %s, line %d", rule.Name, rule.Line)
	} else if rule != nil {
		fmt.Fprintf(b, "; a rule of the school's own, line %d", rule.Line)
	}
	if r.Verdict.Would {
		b.WriteString("; let through by monitor mode")
	}
	if n > 1 {
		fmt.Fprintf(b, "; %d times since %s", n, t.moment(first))
	}
	fmt.Fprintf(b, "\n  client %s", t.veil.addr(r.Client))
	if r.Group != "" {
		fmt.Fprintf(b, " (%s)", r.Group)
	}
	chain := slices.Clone(r.CNAME)
	if r.IP.IsValid() {
		chain = append(chain, t.veil.addr(r.IP))
	}
	if len(chain) > 0 {
		fmt.Fprintf(b, "; led to %s", strings.Join(chain, " > "))
	}
	if r.Parent != "" {
		fmt.Fprintf(b, "; through the parent proxy %s", r.Parent)
	}
	if r.Status != 0 {
		fmt.Fprintf(b, "; status %d", r.Status)
	}
	fmt.Fprintf(b, "; first byte %d ms, ended after %d ms\n", r.FirstByte.Milliseconds(), r.Duration.Milliseconds())
	if r.Detail != "" {
		fmt.Fprintf(b, "  %s\n", t.veil.text(r.Detail))
	}
}
