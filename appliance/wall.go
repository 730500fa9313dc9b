//go:build linux

package appliance

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"gatehouse/appliance/firewall"
	"gatehouse/dnsallow"
	"gatehouse/metrics"
	"gatehouse/policy"
)

// wall keeps the machine's own firewall as the rules have it. It is never taken
// down: when gatehouse ends, the table stays. A nil *wall does nothing.
type wall struct {
	firewall *firewall.Firewall
	plan     func() (firewall.Plan, *policy.Policy)
	log      *slog.Logger
	now      func() time.Time

	mu      sync.Mutex
	trouble string
	next    time.Time // when to try again after trouble
	warned  bool      // that nothing is routed
}

// wallRetry is how long a ruleset that could not be loaded is left alone.
const wallRetry = 30 * time.Second

func (a *Appliance) newWall() *wall {
	if !a.Config.Firewall.Manage {
		return nil
	}
	return &wall{
		firewall: firewall.New(firewall.Deps{Load: firewall.Nft, Table: new(firewall.Kernel).Table, Cut: firewall.CutFlows, Log: a.Log, Now: a.Now}),
		plan: func() (firewall.Plan, *policy.Policy) {
			s := a.rulebook.Status()
			return a.Config.firewallPlan(s.Loaded, a.Now()), s.Policy()
		},
		log: a.Log, now: a.Now,
	}
}

// renew loads the ruleset of the rules in force where the kernel has another one.
// Where that fails the gate serves on: log and readiness say why, and it is tried
// again. What an earlier ruleset closed stays closed.
func (w *wall) renew(ctx context.Context) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.trouble != "" && w.now().Before(w.next) {
		return
	}
	plan, p := w.plan()
	err := firewall.CheckInterfaces(plan)
	if err == nil {
		err = w.firewall.Renew(ctx, plan, p)
	}
	before := w.trouble
	w.trouble, w.next = "", w.now().Add(wallRetry)
	switch {
	case err != nil:
		if w.trouble = err.Error(); w.trouble != before {
			w.log.Error("the firewall could not be loaded; the proxy and the DNS filter serve all the same", "err", err)
		}
	case before != "":
		w.log.Info("the firewall is loaded")
	}
	if err == nil && p.Forwards() && !w.warned && !routes() {
		w.warned = true
		w.log.Warn("rules with via = \"forward\" let nothing through: this machine does not route; set net.ipv4.ip_forward = 1 (and net.ipv6.conf.all.forwarding = 1) once the firewall is loaded")
	}
}

// Trouble says why the firewall is not as the rules have it; empty where it is.
func (w *wall) Trouble() string {
	if w == nil {
		return ""
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.trouble
}

// routes reports whether the machine passes packets on, as far as can be told.
func routes() bool {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
	return err != nil || strings.TrimSpace(string(text)) != "0"
}

// review ends what the rules in force do not permit.
func (a *Appliance) review() {
	a.gate.Review()
	a.entrances.follow(a.rulebook.Status().publishes())
	a.nameplate.polish()
	a.wall.renew(context.Background()) // bounded by the patience with nft
}

// pinner is who opens the firewall for answers; nil where nobody manages it.
func (a *Appliance) pinner() dnsallow.Pinner {
	if a.wall == nil {
		return nil
	}
	return a.wall.firewall
}

// wallNow tells the metrics of the firewall; nil where nobody manages it.
func (a *Appliance) wallNow() func() metrics.Firewall {
	if !a.Config.Firewall.Manage {
		return nil
	}
	return func() metrics.Firewall {
		return metrics.Firewall{Loaded: a.wall.firewall.Loaded(), Pins: a.wall.firewall.Pins()}
	}
}
