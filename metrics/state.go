package metrics

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// state is what is in force: rules and Azure data.
type state struct {
	reloadOK   prometheus.Gauge
	reloadTime prometheus.Gauge
	rulesInfo  *prometheus.GaugeVec
	unenforced prometheus.Gauge
	tagsNumber prometheus.Gauge
	tagsDate   *atomic.Pointer[time.Time]
	servers    *prometheus.CounterVec
	caExpiry   *prometheus.GaugeVec // without labels: shown once it is set
}

func newState(r *prometheus.Registry, now func() time.Time) state {
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
		r.MustRegister(g)
		return g
	}
	s := state{
		reloadOK: gauge("gatehouse_rules_last_reload_successful",
			"1 where the rules file that is in its place is the one in force, 0 where the last attempt to load it failed."),
		reloadTime: gauge("gatehouse_rules_last_reload_success_timestamp_seconds",
			"When a rules file was last put in force."),
		unenforced: gauge("gatehouse_rules_unenforced_clauses",
			"Clauses of the rules in force that cannot be checked, because they speak of what is inside TLS that is not looked into."),
		tagsNumber: gauge("gatehouse_azure_tags_change_number",
			"The change number of the Azure service tags in force."),
		rulesInfo: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gatehouse_rules_info", Help: "Always 1; the label is the SHA-256 of the rules file in force.",
		}, []string{"sha256"}),
		caExpiry: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gatehouse_inspection_ca_expiry_timestamp_seconds",
			Help: "When the inspection CA in use ends, 0 where there is none; missing while inspection is off.",
		}, nil),
		servers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatehouse_dns_system_servers_changes_total",
			Help: "How often the system's DNS servers changed: taken, or ignored because it named none any more.",
		}, []string{"result"}),
		tagsDate: new(atomic.Pointer[time.Time]),
	}
	for _, result := range []string{"taken", "ignored"} {
		s.servers.WithLabelValues(result)
	}
	r.MustRegister(s.rulesInfo, s.caExpiry, s.servers, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gatehouse_azure_tags_age_seconds",
		Help: "Age of the Azure service tags in force, by the date of their file.",
	}, func() float64 {
		if date := s.tagsDate.Load(); date != nil {
			return now().Sub(*date).Seconds()
		}
		return 0
	}))
	return s
}

// Rules is what is in force at a moment.
type Rules struct {
	InForce  bool // false: there are none, everything is refused
	LastGood bool // they are the last good file, not the one in its place
	Monitor  bool // what they would refuse is let through
}

// showRules reads now at each scrape, for a day that ends changes the mode
// without anybody loading anything.
func showRules(r *prometheus.Registry, now func() Rules) {
	show := func(name, help string, holds func(Rules) bool) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			if holds(now()) {
				return 1
			}
			return 0
		}))
	}
	show("gatehouse_rules_in_force", "1 where rules are in force, 0 where there are none and everything is refused.",
		func(r Rules) bool { return r.InForce })
	show("gatehouse_rules_last_good", "1 where the last good file is in force, because the one in its place cannot be loaded.",
		func(r Rules) bool { return r.LastGood })
	show("gatehouse_rules_monitor_mode", "1 where the rules are in monitor mode: what they would refuse is let through.",
		func(r Rules) bool { return r.Monitor })
}

// RulesLoaded notes that a rules file was put in force.
func (t *Tally) RulesLoaded(sha256 string, unenforced int) {
	t.state.reloadOK.Set(1)
	t.RulesKept(sha256, unenforced)
	t.state.reloadTime.Set(float64(t.now().UnixNano()) / 1e9)
}

// RulesKept notes which rules are in force without saying that the file in its
// place is good: the last good file at start.
func (t *Tally) RulesKept(sha256 string, unenforced int) {
	t.state.rulesInfo.Reset()
	t.state.rulesInfo.WithLabelValues(sha256).Set(1)
	t.state.unenforced.Set(float64(unenforced))
}

// RulesRefused notes that the rules file in its place could not be loaded.
func (t *Tally) RulesRefused() { t.state.reloadOK.Set(0) }

// TagsLoaded notes which Azure service tags are in force.
func (t *Tally) TagsLoaded(changeNumber int, date time.Time) {
	t.state.tagsNumber.Set(float64(changeNumber))
	t.state.tagsDate.Store(&date)
}

// ServersRead notes that the file in which the system names its DNS servers has
// changed: they are taken, or the file names none.
func (t *Tally) ServersRead(taken bool) {
	result := "ignored"
	if taken {
		result = "taken"
	}
	t.state.servers.WithLabelValues(result).Inc()
}

// InspectionCA notes when the inspection CA in use ends; the zero time says that
// inspection is on and there is no CA.
func (t *Tally) InspectionCA(ends time.Time) {
	t.state.caExpiry.WithLabelValues().Set(unixOrZero(ends))
}

// Firewall is what the managed firewall holds at a moment.
type Firewall struct {
	Loaded bool // the ruleset of the rules in force is in the kernel
	Pins   int  // runs of ports that are open to addresses
}

// showFirewall shows nothing where nobody manages the firewall.
func showFirewall(r *prometheus.Registry, now func() Firewall) {
	if now == nil {
		return
	}
	r.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gatehouse_firewall_loaded",
			Help: "1 where the kernel's firewall is the one of the rules in force, 0 where it could not be loaded; missing where firewall.manage is off.",
		}, func() float64 {
			if now().Loaded {
				return 1
			}
			return 0
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gatehouse_firewall_pins",
			Help: "Runs of ports to addresses that are open in the firewall, for rules with via = \"forward\".",
		}, func() float64 { return float64(now().Pins) }))
}
