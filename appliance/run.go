//go:build linux

package appliance

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/prometheus/exporter-toolkit/web"
	"golang.org/x/sync/errgroup"

	"gatehouse/appliance/journal"
)

// Run puts the rules in force and serves until ctx is done, then drains: no new
// passages, and open ones end by themselves within Options.Drain or are cut. It
// closes everything that Listen opened. The error tells of a listener that
// failed while serving.
func (a *Appliance) Run(ctx context.Context) error {
	defer a.doors.close()
	defer a.entrances.close()
	defer a.resolver.Close()
	stopLog := a.keepLog()
	defer stopLog()
	a.sayHow()
	a.loadCA()
	trouble := a.loadTags()
	a.rulebook.start()
	a.trial.open()
	a.wall.renew(ctx) // also where there are no rules at all
	a.rulebook.Tags(trouble)

	g, serving := errgroup.WithContext(ctx)
	defer context.AfterFunc(serving, a.tail.End)() // who looks on keeps no door open
	a.serve(g, serving)
	a.watch(g, serving)
	a.Log.Info("ready", "addresses", a.Addresses())
	a.notify(daemon.SdNotifyReady)
	<-serving.Done()
	a.notify(daemon.SdNotifyStopping)
	a.Log.Info("stopping: open passages may end within", "drain", a.Drain)
	a.entrances.close()
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.Drain)
	defer cancel()
	if err := a.gate.Shutdown(drain); err != nil {
		a.Log.Warn("some passages were cut", "err", err)
	}
	return g.Wait()
}

// keepLog writes the decision log, and to the syslog server, until the function it returns is called,
// which waits for the last line, but not for ever: a reader of standard output
// that reads no more must not keep the process alive.
func (a *Appliance) keepLog() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	feeding, endFeed := context.WithCancel(context.Background())
	fed, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(fed)
		if a.feed != nil {
			a.feed.Run(feeding)
		}
	}()
	go func() {
		defer close(done)
		a.decisions.Run(ctx)
		if a.file != nil {
			a.file.Close()
		}
	}()
	return func() {
		late, end := context.WithTimeout(context.Background(), 2*time.Second)
		defer end()
		endFeed() // first: the end of its connection is a line of the decision log
		await(late, fed)
		cancel()
		await(late, done)
	}
}

// await waits for what ends, until it is late.
func await(late context.Context, ended <-chan struct{}) {
	select {
	case <-ended:
	case <-late.Done():
	}
}

// serve lets every door be served until serving is done.
func (a *Appliance) serve(g *errgroup.Group, serving context.Context) {
	for _, ln := range a.doors.proxy {
		g.Go(func() error { return a.gate.Serve(serving, ln) })
	}
	g.Go(func() error { return a.serveNames(serving) })
	g.Go(func() error { return a.serveAdmin(serving) })
	for _, ln := range a.doors.metrics {
		g.Go(func() error { return a.serveHTTP(serving, newCrowd(ln, &a.crowded), a.scrapeHandler(), "") })
	}
	for _, ln := range a.doors.gateway {
		g.Go(func() error { return a.gate.ServeGateway(serving, ln, prefixesOf(a.Config.Listen.GatewayFrom)) })
	}
	for _, ln := range a.doors.pac {
		g.Go(func() error { return a.serveHTTP(serving, newCrowd(ln, &a.pacCrowded), a.pacHandler(), "") })
	}
	if a.doors.control != nil {
		g.Go(func() error { return a.serveHTTP(serving, a.doors.control, a.controlHandler(), "") })
	}
}

func (a *Appliance) serveAdmin(ctx context.Context) error {
	return a.serveHTTP(ctx, newCrowd(a.doors.admin, &a.crowded), a.adminHandler(), a.Config.Listen.WebConfig)
}

// serveHTTP serves one of the appliance's own HTTP doors.
func (a *Appliance) serveHTTP(ctx context.Context, ln net.Listener, h http.Handler, webConfigFile string) error {
	s := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, WriteTimeout: time.Minute,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10, ConnContext: withPeer,
		ErrorLog: slog.NewLogLogger(a.Log.Handler(), slog.LevelDebug),
	}
	ended := make(chan struct{})
	defer context.AfterFunc(ctx, func() {
		defer close(ended)
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if s.Shutdown(drain) != nil {
			s.Close()
		}
	})()
	err := web.Serve(ln, s, &web.FlagConfig{WebConfigFile: &webConfigFile}, slog.New(slog.DiscardHandler))
	if ctx.Err() != nil && errors.Is(err, http.ErrServerClosed) {
		<-ended
		return nil
	}
	return err
}

// watch looks after what changes: files, hang-ups, and the clock.
func (a *Appliance) watch(g *errgroup.Group, ctx context.Context) {
	var all sync.WaitGroup
	all.Go(func() { a.eachSecond(ctx) })
	all.Go(func() { a.eachDay(ctx) })
	all.Go(func() { a.hangups(ctx) })
	started := a.Now()
	all.Go(func() { a.guarded("chart of the day", func() { a.recallDay(ctx, started) }) })
	all.Go(func() {
		tick := time.NewTicker(catalogueEvery)
		defer tick.Stop()
		a.keepCatalogue(ctx, tick.C)
	})
	all.Go(func() { a.watchdog(ctx) })
	all.Go(func() { a.thrift(ctx) })
	if a.Files.Rules != "" {
		w := a.rulesWatcher()
		all.Go(func() { w.run(ctx) })
	}
	if a.Config.Azure.Tags != "" {
		w := a.tagsWatcher()
		all.Go(func() { w.run(ctx) })
	}
	if a.system != nil {
		w := a.serversWatcher()
		all.Go(func() { w.run(ctx) })
	}
	if a.Config.Azure.Fetch == fetchWeekly {
		a.fetchTags(ctx, &all)
	}
	if a.bell != nil {
		a.recallAlarms()
		all.Go(func() {
			tick := time.NewTicker(lookEvery)
			defer tick.Stop()
			a.ringAlarms(ctx, tick.C)
		})
	}
	if a.ca.dir != "" {
		w := a.caWatcher()
		all.Go(func() { w.run(ctx) })
	}
	g.Go(func() error { all.Wait(); return nil })
}

// eachSecond ends passages whose permission has run out: the day of a rule
// passes without any file changing.
func (a *Appliance) eachSecond(ctx context.Context) {
	every(ctx, time.Second, func() {
		a.guarded("review", a.review)
		a.guarded("trial", a.trial.tend)
	})
}

// every does something once a period, the first time when one has passed, until ctx
// is done.
func every(ctx context.Context, period time.Duration, do func()) {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			do()
		}
	}
}

// hangups reloads at each SIGHUP. Whoever sends one has asked: a file that has
// shrunk is taken.
func (a *Appliance) hangups(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.Hangup:
			a.guarded("reload", func() { a.logOutcome("SIGHUP", a.rulebook.Reload(cause{"whoever sent SIGHUP", journal.Reload}, false)) })
		}
	}
}

// guarded calls f, and says so should it panic: a fault in one task must not
// end the gate.
func (a *Appliance) guarded(task string, f func()) {
	defer func() {
		if fault := recover(); fault != nil {
			a.Log.Error("a fault in gatehouse: a task panicked; the gate goes on", "task", task, "fault", fault, "stack", string(debug.Stack()))
		}
	}()
	f()
}

// notify tells systemd, where it started us.
func (a *Appliance) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		a.Log.Warn("systemd could not be told", "state", state, "err", err)
	}
}

// sayHow says at start what the appliance goes by.
func (a *Appliance) sayHow() {
	a.Log.Info("gatehouse starts", "version", a.Build.Version, "config", a.Files.ConfigName(), "rules", a.Files.RulesName(),
		"timezone", a.Config.Timezone.String(), "now", a.Now().In(a.Config.Timezone.Zone()).Format(time.RFC3339),
		"state_dir", a.Config.State.Dir, "decisions", a.Config.Log.Decisions)
	a.sayAffordable()
	if list := a.Config.Addresses.TreatAsPublic; len(list) > 0 {
		a.Log.Warn("addresses.treat_as_public: these special addresses are treated as public ones; that is for test beds and NAT64, not for a school's gate", "networks", list)
	}
}
