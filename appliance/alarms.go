//go:build linux

package appliance

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"gatehouse/appliance/alarm"
	"gatehouse/appliance/doctor"
	"gatehouse/internal/flow"
	"gatehouse/policy"
)

// lookEvery is how often the appliance looks whether something is wrong, and
// lingers how long a thing that happened counts as one that is so.
const (
	lookEvery = time.Minute
	lingers   = time.Hour
)

// troubles remembers what happened, for the alarm: it is a Sink of the book.
type troubles struct {
	mu      sync.Mutex
	refused map[string]*flow.Record // the last one, by the pack's rule
	before  map[string]event        // likewise, as it is told: those of before the last look
	unready map[string]bool         // packs, as the doctor last found them
	failing map[alarm.Kind]int      // ways out, and at how many looks in a row
}

func newTroubles() *troubles {
	return &troubles{refused: map[string]*flow.Record{}, before: map[string]event{}, unready: map[string]bool{}, failing: map[alarm.Kind]int{}}
}

// Record implements flow.Sink.
func (t *troubles) Record(r *flow.Record) {
	if r.Verdict.Allowed() || r.Verdict.Rule == nil || r.Verdict.Rule.Pack == "" {
		return
	}
	t.mu.Lock()
	t.refused[r.Verdict.Rule.Name] = r
	t.mu.Unlock()
}

func (t *troubles) packTried(pack string, ready bool) {
	t.mu.Lock()
	t.unready[pack] = !ready
	t.mu.Unlock()
}

// happened are the alarms that events give rise to.
func (t *troubles) happened(now time.Time) (list []alarm.Condition) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for rule, r := range t.refused {
		t.before[rule] = eventOf(r)
		delete(t.refused, rule)
	}
	for rule, e := range t.before {
		if now.Sub(e.At) >= lingers {
			delete(t.before, rule)
			continue
		}
		list = append(list, alarm.Condition{Kind: alarm.AgentRefused, Subject: rule, Says: e.Says, Fix: e.Fix})
	}
	for pack, unready := range t.unready {
		if unready {
			list = append(list, alarm.Condition{Kind: alarm.PackNotReady, Subject: pack,
				Says: "The doctor found that not all works that the pack " + pack + " needs.", Fix: "gatehouse doctor --pack " + pack})
		}
	}
	return list
}

// wrong is everything that is to be told of.
func (a *Appliance) wrong() []alarm.Condition {
	list := a.troubles.happened(a.Now())
	add := func(kind alarm.Kind, says, fix string) {
		list = append(list, alarm.Condition{Kind: kind, Says: says, Fix: fix})
	}
	switch s := a.rulebook.Status(); {
	case s.Loaded == nil:
		add(alarm.RulesNotLoaded, "No rules are in force: everything is refused.", "gatehouse check "+a.Files.RulesName())
	case s.Source == FromLastGood:
		add(alarm.RulesNotLoaded, "The last good rules are in force, for "+s.File+" cannot be loaded.", "gatehouse check "+a.Files.RulesName())
	case len(s.Refused) > 0:
		add(alarm.RulesNotLoaded, a.Files.RulesName()+" was changed and cannot be loaded; the rules before it are in force.", "gatehouse check "+a.Files.RulesName())
	}
	for _, c := range a.certificateChecks() {
		if c.State != doctor.OK {
			list = append(list, alarm.Condition{Kind: alarm.CertificateEnds, Subject: c.Name, Says: c.Name + ": " + c.Says + ".", Fix: c.Fix})
		}
	}
	for _, c := range a.entrances.closed() {
		list = append(list, alarm.Condition{Kind: alarm.DoorClosed, Subject: c.Name, Says: c.Name + ": " + c.Says + ".", Fix: c.Fix})
	}
	list = append(list, a.waysOut()...)
	if c := a.azureCheck(); c.State != doctor.OK {
		add(alarm.AzureOld, "Azure's addresses: "+c.Says+".", c.Fix)
	}
	if c := a.decisionsCheck(); c.State == doctor.Failed {
		add(alarm.LogDropped, "The decision log: "+c.Says+".", c.Fix)
	}
	if c := a.feed.lossCheck(a.Now()); c.State == doctor.Failed {
		add(alarm.LogDropped, "Syslog: "+c.Says+".", c.Fix)
	}
	if c := a.diskCheck(); c.State == doctor.Failed {
		add(alarm.DiskFull, "The disk: "+c.Says+".", c.Fix)
	}
	return list
}

// waysOut tells of what nothing can pass any more: none of the DNS servers answers, none
// of the parent proxies lets anything through.
func (a *Appliance) waysOut() (list []alarm.Condition) {
	for _, w := range []struct {
		kind      alarm.Kind
		checks    []*doctor.Check
		says, fix string
	}{
		{alarm.DNSSilent, a.serverStandings(), "None of the DNS servers that the gate asks answers (%s): names cannot be resolved.", "gatehouse doctor; look at the line, and at dns.upstreams"},
		{alarm.ParentsFail, a.parentStandings(), "None of the parent proxies lets anything through (%s).", "gatehouse doctor; look at the line, and ask who runs the parent"},
	} {
		all := len(w.checks) > 0 && !slices.ContainsFunc(w.checks, func(c *doctor.Check) bool { return c.State == doctor.OK })
		if a.troubles.fails(w.kind, all) {
			var names []string
			for _, c := range w.checks {
				names = append(names, c.Name)
			}
			list = append(list, alarm.Condition{Kind: w.kind, Says: fmt.Sprintf(w.says, strings.Join(names, ", ")), Fix: w.fix})
		}
	}
	return list
}

// fails reports whether a way out has failed at two looks in a row: a line that is away
// for a moment needs nobody.
func (t *troubles) fails(way alarm.Kind, now bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failing[way]++
	if !now {
		delete(t.failing, way)
	}
	return t.failing[way] > 1
}

// ringAlarms looks each minute whether something is wrong, until ctx is done. It
// keeps nobody waiting but itself.
func (a *Appliance) ringAlarms(ctx context.Context, tick <-chan time.Time) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick:
			a.guarded("alarm", func() {
				a.bell.Ring(ctx, a.Now(), a.wrong())
				a.keepAlarms()
			})
		}
	}
}

// newBell makes the bell; nil: nobody is to be told.
func (a *Appliance) newBell() *alarm.Bell {
	if !a.Config.Alarm.wanted() {
		return nil
	}
	return alarm.New(alarm.Config{
		Gate: hostName(), Repeat: a.Config.Alarm.Repeat.Duration, Senders: a.alarmSenders(), Log: a.Log,
		Count: func(kind alarm.Kind, result string) { a.tally.Alarmed(string(kind), result) },
	})
}

func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		return "gatehouse"
	}
	return name
}

// alarmSenders are the ways by which alarms go, each an own passage of the gate.
func (a *Appliance) alarmSenders() (senders []alarm.Sender) {
	c := a.Config.Alarm
	roots := a.roots()
	if w := c.Webhook; !w.zero() {
		protocol := policy.PlainHTTP
		if w.secure {
			protocol = policy.TLS
		}
		own := a.ownPassage("gatehouse/alarm-webhook", "alarm.webhook", w.dest, protocol)
		senders = append(senders, alarm.Webhook{URL: w.url, HTTP: own.transport(roots)})
	}
	if len(c.MailTo) > 0 {
		dest, err := destOf(c.MailServer)
		if err != nil { // it was well when the configuration was checked
			a.Log.Error("alarm.mail_server is of no use", "err", err)
			return senders
		}
		own := a.ownPassage("gatehouse/alarm-mail", "alarm.mail_server", dest, policy.TCP)
		senders = append(senders, alarm.Mail{
			Host: dest.Host.String(), Port: int(dest.Port), TLS: c.MailTLS, From: c.MailFrom, To: c.MailTo, User: c.MailUser, PasswordFile: c.MailPasswordFile,
			Config: &tls.Config{ServerName: dest.Host.String(), RootCAs: roots, MinVersion: tls.VersionTLS12, Time: a.Now}, Dial: own.connect,
		})
	}
	return senders
}

// ownPassage permits the gate itself to reach one place, which a setting names:
// at a public address or one of the school's own.
func (a *Appliance) ownPassage(name, setting string, dest policy.Dest, protocol policy.Protocol) *ownPassages {
	r := policy.Rule{
		Name: name, Ports: []policy.PortRange{{First: dest.Port, Last: dest.Port}}, Protocol: protocol,
		Clients: policy.Clients{Prefixes: []netip.Prefix{netip.PrefixFrom(localhost, localhost.BitLen())}}, Because: setting,
		Addresses: policy.Addresses{Default: dest.Host.IsIP(), Public: !dest.Host.IsIP()},
	}
	if !dest.Host.IsIP() {
		r.Addresses.Prefixes = policy.PrivateRanges()
	}
	pattern, err := policy.ParseHostPattern(dest.Host.String())
	var p *policy.Policy
	if err == nil {
		r.Hosts = []policy.ListedHost{{HostPattern: pattern}}
		p, err = policy.Compile(policy.Spec{Rules: []policy.Rule{r}, TreatAsPublic: prefixesOf(a.Config.Addresses.TreatAsPublic)})
	}
	if err != nil {
		a.Log.Error("a fault in gatehouse: nothing can be sent", "setting", setting, "err", err) // a nil policy refuses
	}
	dialer := net.Dialer{Timeout: a.Config.Limits.Dial.Duration}
	return &ownPassages{policy: p, resolver: a.resolver, book: a.book, now: a.Now,
		dial: func(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
			if a.doors.own(to) {
				return nil, errors.New("it leads to the gate's own listeners")
			}
			return dialer.DialContext(ctx, network, to.String())
		}}
}

// tryAlarms sends a message that nothing is wrong by every way, and says how it
// went; well is false where nobody is told or somebody could not be.
func (a *Appliance) tryAlarms(ctx context.Context) (words string, well bool) {
	senders := a.alarmSenders()
	if len(senders) == 0 {
		return "nobody is told of anything: set webhook or mail_to in [alarm] of " + a.Files.ConfigName() + "\n", false
	}
	at := a.Now()
	m := alarm.Message{Gate: hostName(), At: at, Events: []alarm.Event{{Kind: alarm.Test, Phase: alarm.Begun, Since: at,
		Says: "This is a test: nothing is wrong. Alarms arrive here."}}}
	well = true
	var said []string
	for _, s := range senders {
		ctx, cancel := context.WithTimeout(ctx, 50*time.Second)
		err := s.Send(ctx, m)
		cancel()
		result := "sent"
		if err != nil {
			result, well = "failed", false
			said = append(said, fmt.Sprintf("%s: %v\n", s.Name(), err))
		} else {
			said = append(said, s.Name()+": sent\n")
		}
		a.tally.Alarmed(string(alarm.Test), result)
	}
	slices.Sort(said)
	return strings.Join(said, ""), well
}
