//go:build linux

package appliance

import (
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"gatehouse/appliance/alarm"
	"gatehouse/appliance/doctor"
	"gatehouse/dnsallow"
	"gatehouse/internal/flow"
	"gatehouse/metrics"
	"gatehouse/policy"
	"gatehouse/proxy"
)

// keptDecisions is how many decisions are kept in memory for explain.
const keptDecisions = 10_000

// Options is what an Appliance is made from.
type Options struct {
	Files  Files
	Config *Config
	Build  Build
	Log    *slog.Logger
	Stdout io.Writer // where log.decisions = "stdout" goes
	// Sockets are open already, for addresses that Config.Listen names: see Inherited.
	// Listen takes them over.
	Sockets []*os.File
	// Hangup asks for a reload (SIGHUP); nil: nobody does.
	Hangup <-chan os.Signal
	// Drain is how long open passages may go on when the appliance is told to
	// stop; 0: 8 s, which is less than the 10 s that containers are given.
	Drain time.Duration
	Now   func() time.Time // nil: time.Now
}

// Appliance is the building with its rooms. New makes one, Listen opens its
// doors, Run serves until it is told to stop.
type Appliance struct {
	Options // with its defaults filled in

	live         *policy.Live
	tags         *tagShelf
	ring         *flow.Ring
	tail         flow.Tail // for who looks on at the console
	decisions    *flow.Log
	catalogue    *flow.Catalogue // of its file; nil: it goes elsewhere, or is not in JSON
	file         io.Closer       // of the decision log; nil: standard output
	feed         *feed           // to a syslog server; nil: there is none
	tally        *metrics.Tally
	used         *usedAddresses
	day          flow.Day
	troubles     *troubles   // for the alarm
	bell         *alarm.Bell // nil: nobody is told
	alarmKeep    string      // the file that keeps what was told; empty: none does
	alarmsKept   []byte      // what it holds
	alarmsUnkept bool        // it could not be written, and that was said
	book         *flow.Book
	rulebook     *rulebook
	trial        *trial
	ca           *caShelf // of inspection
	resolver     *dnsallow.Resolver
	system       *systemServers // nil: the configuration names the DNS servers that are asked
	told         *dnsallow.Told // nil: there is no gateway that would ask
	names        *dnsallow.Server
	nameplate    *nameplate // nil: DNS over TLS is not spoken
	gate         *proxy.Server
	doors        *listeners
	crowded      atomic.Uint64 // connections to admin and metrics that found no room
	pacCrowded   atomic.Uint64 // and to the PAC listeners
	entrances    *entrances
	wall         *wall                         // nil: the firewall is not ours to manage
	examined     atomic.Pointer[doctor.Report] // the last of the doctor's; nil: none yet
}

// New makes an appliance. It starts nothing and opens nothing.
func New(o Options) *Appliance {
	a := &Appliance{Options: o, live: new(policy.Live)}
	if a.Now == nil {
		a.Now = time.Now
	}
	if a.Drain == 0 {
		a.Drain = 8 * time.Second
	}
	a.tags = a.Config.newTags()
	a.ca = newCAShelf(a.Config, a.Now)
	a.ring = flow.NewRing(keptDecisions)
	a.decisions, a.catalogue = a.newDecisionLog(), a.newCatalogue()
	a.resolver = a.newResolver()
	a.feed = a.newFeed()
	a.tally = metrics.New(metrics.Config{
		Now: a.Now, Version: a.Build.Version, Revision: a.Build.Revision, GoVersion: a.Build.Go,
		LogDropped: a.decisions.Dropped, SyslogDropped: a.feed.dropped, CacheEntries: a.resolver.CacheEntries, CacheHits: a.resolver.CacheHits,
		NameLinesRefused: func() uint64 { return a.names.LinesRefused() }, Certificates: a.certificateEnds, AdminRefused: a.crowded.Load, PACRefused: a.pacCrowded.Load,
		Rules: a.rulesInForce, Firewall: a.wallNow(), Settle: func() { a.names.Settle() },
	})
	a.used, a.troubles = new(usedAddresses), newTroubles()
	book := &flow.Book{Sinks: []flow.Sink{a.tally, a.ring, &a.tail, a.decisions, a.used, &a.day, a.troubles}, Faults: a.sinkFault}
	if a.feed != nil {
		book.Sinks = append(book.Sinks, a.feed)
	}
	a.book = book
	a.bell, a.alarmKeep = a.newBell(), filepath.Join(a.Config.State.Dir, alarmFile)
	a.told = a.newTold()
	a.wall = a.newWall()
	a.gate = a.newGate(book)
	a.entrances = newEntrances(a.gate, a.Log, a.Now)
	a.names = a.newNames(book)
	a.nameplate = a.newNameplate()
	a.rulebook = a.newRulebook()
	a.trial = &trial{
		keep: filepath.Join(a.Config.State.Dir, "trial.json"), files: a.Files, log: a.Log, now: a.Now,
		load: func(c cause) Outcome { return a.rulebook.Reload(c, false) }, good: a.rulebook.comesBack, note: a.noted,
	}
	return a
}

// fileBatch is how much of the decision log is written at once, at most: a file
// system takes that for two thirds of what it takes in parts of 64 KiB.
const fileBatch = 256 << 10

func (a *Appliance) newDecisionLog() *flow.Log {
	c := flow.LogConfig{Out: a.Stdout, Logger: a.Log, Now: a.Now}
	if a.Config.Log.Format == "squid" {
		c.Format = flow.Squid
	}
	if path := a.Config.Log.Decisions; path != "stdout" {
		f := flow.NewFile(flow.FileConfig{
			Path: path, Days: a.Config.Log.Days, Bytes: int64(a.Config.Log.MiB) << 20, Now: a.Now, Synchronised: synchronised,
		})
		c.Out, a.file, c.Batch = f, f, fileBatch
	}
	return flow.NewLog(c)
}

func (a *Appliance) newGate(book *flow.Book) *proxy.Server {
	l := a.Config.Limits
	return proxy.New(proxy.Config{
		Pseudonym:   "gatehouse-" + strings.ToLower(rand.Text()[:8]), // two gates in a row are no circle
		Connections: a.affordable(), PerClient: l.PerClient, HeaderBytes: l.HeaderBytes,
		PublishRate: l.PublishRate, Dial: l.Dial.Duration, TunnelIdle: l.TunnelIdle.Duration,
		Roots: a.roots(), Parents: a.Config.parents(),
	}, proxy.Deps{
		Policy: a.live, Resolver: a.resolver, Book: book, Log: a.Log, Now: a.Now,
		Own: func(to netip.AddrPort) bool { return a.doors.own(to) }, Local: a.local, Told: a.told,
		ParentAddresses: a.resolver.Addresses,
		ParentFault:     func(f *proxy.ParentFault) { a.tally.ParentFailed(f.Parent, string(f.Cause)) },
	})
}

// local reports whether addr is this machine's, but for what addresses.treat_as_public
// names: a test bed publishes what it runs itself.
func (a *Appliance) local(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	treated := slices.ContainsFunc(a.Config.Addresses.TreatAsPublic, func(n Network) bool { return n.Contains(addr) })
	return !treated && (addr.IsUnspecified() || ofThisMachine(addr))
}

// roots are whom the gate and the doctor trust; nil: whom the system does.
func (a *Appliance) roots() *x509.CertPool {
	roots, err := a.Config.Roots()
	if err != nil { // it was there when the configuration was checked
		a.Log.Error("no origin is trusted inside TLS that the gate looks into", "err", err)
		return x509.NewCertPool()
	}
	return roots
}

// rulesInForce is what the metrics say of the rules.
func (a *Appliance) rulesInForce() metrics.Rules {
	s := a.rulebook.Status()
	if s == nil { // not started
		return metrics.Rules{}
	}
	return metrics.Rules{
		InForce: s.Loaded != nil, LastGood: s.Source == FromLastGood,
		Monitor: s.Loaded != nil && s.Policy().Mode(a.Now()) == policy.Monitor,
	}
}

func (a *Appliance) newRulebook() *rulebook {
	env := a.Config.Env()
	env.Vouches = a.ca.vouches
	return &rulebook{
		files: a.Files, env: env, journal: historyIn(a.Config.State.Dir), kept: lastGood(filepath.Join(a.Config.State.Dir, "last-good")),
		live: a.live, tags: a.tags, tally: a.tally, log: a.Log, now: a.Now, review: a.review,
	}
}

func (a *Appliance) sinkFault(sink flow.Sink, fault any) {
	a.Log.Error("a fault in gatehouse: a sink of the book panicked; the passage went on",
		"sink", fmt.Sprintf("%T", sink), "fault", fault, "stack", string(debug.Stack()))
}

// Listen opens every door. Passages are taken only once Run runs.
func (a *Appliance) Listen() error {
	given, err := inherit(a.Sockets)
	if err != nil {
		return err
	}
	doors, err := openListeners(a.Config.Listen, given)
	if err != nil {
		return err
	}
	doors.published = a.entrances.listeners
	a.doors = doors
	if err := a.asksItself(); err != nil {
		doors.close()
		return err
	}
	doors.control, err = openSocket(a.Config.State.Dir)
	switch {
	case errors.Is(err, errOtherGate):
		// Its last good file must not be overwritten by ours, nor ever become ours.
		a.rulebook.kept, a.rulebook.journal, a.trial.keep, a.alarmKeep = "", "", "", ""
		a.Log.Error("state.dir is in use: gatehouse reload and decision ids reach the other gatehouse, and there is no last good file for this one; give each a state.dir of its own",
			"state_dir", a.Config.State.Dir, "err", err)
	case err != nil:
		a.Log.Error("state.dir cannot hold the command socket: gatehouse reload and decision ids do not work, everything else does; make it writable, or change state.dir",
			"state_dir", a.Config.State.Dir, "err", err)
	}
	return nil
}

// asksItself tells of a DNS server to ask that is the appliance itself: every
// question for it would go round and round.
func (a *Appliance) asksItself() error {
	check := func(key string, servers []dnsallow.Upstream) error {
		for _, u := range servers {
			if a.doors.own(u.Addr()) {
				return fmt.Errorf("%s: %s is this gatehouse's own DNS listener; name the servers that it should ask", key, u)
			}
		}
		return nil
	}
	err := check("dns.upstreams", a.upstreams())
	for _, f := range a.Config.DNS.Forwards {
		err = errors.Join(err, check("dns.forward of "+f.Zone.String(), upstreamsOf(f.Servers)))
	}
	return err
}

// Addresses are where the appliance listens, by the names of gatehouse.toml.
func (a *Appliance) Addresses() map[string][]string {
	at := map[string][]string{}
	for name, doors := range map[string][]net.Listener{
		"admin": {a.doors.admin}, "proxy": a.doors.proxy, "dns": a.doors.dnsTCP, "dns_tls": a.doors.dnsTLS,
		"gateway": a.doors.gateway, "pac": a.doors.pac, "metrics": a.doors.metrics,
	} {
		for _, ln := range doors {
			at[name] = append(at[name], ln.Addr().String())
		}
	}
	if published := a.entrances.addresses(); len(published) > 0 {
		at["publish"] = published
	}
	return at
}
