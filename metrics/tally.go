package metrics

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"gatehouse/internal/flow"
	"gatehouse/policy"
)

// Config is what a Tally reads at each scrape. The functions are called from
// the scraping goroutine and must not block.
type Config struct {
	Now       func() time.Time // nil: time.Now
	Version   string
	Revision  string
	GoVersion string
	// LogDropped and SyslogDropped count the lines of the decision log, and the
	// messages to a syslog server, that were lost; nil: none ever is.
	LogDropped, SyslogDropped func() uint64
	// CacheEntries and CacheHits tell of the DNS cache; nil: there is none.
	CacheEntries func() int
	CacheHits    func() uint64
	// NameLinesRefused counts the TCP connections of DNS that were closed at once for
	// want of room; nil: none ever is.
	NameLinesRefused func() uint64
	// AdminRefused counts the connections to the admin and metrics listeners that were
	// closed at once for want of room; nil: none ever is.
	AdminRefused func() uint64
	// PACRefused counts those to the PAC listeners; nil: none ever is.
	PACRefused func() uint64
	// Certificates says of each certificate that the gate shows when it ends, by the
	// name of its door, which comes from the configuration and not from a client; the
	// zero time: there is none that could be shown. Nil: none is shown.
	Certificates func() map[string]time.Time
	// Rules says what is in force; nil: nothing is.
	Rules func() Rules
	// Firewall says what the managed firewall holds; nil: it is not managed.
	Firewall func() Firewall
	// Settle brings the counts up to date before a scrape; nil: they always are.
	Settle func()
}

// Tally counts Records and keeps the gauges of design: a flow.Sink and a
// flow.Opener around a registry of its own. New makes one; it is safe for
// concurrent use.
type Tally struct {
	registry *prometheus.Registry
	now      func() time.Time
	settle   func()
	rules    ruleNames

	decisions *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	firstByte *prometheus.HistogramVec
	relayed   *prometheus.CounterVec
	open      *prometheus.GaugeVec
	faults    *prometheus.CounterVec
	queries   *prometheus.CounterVec
	upstream  *prometheus.HistogramVec
	failures  *prometheus.CounterVec
	parents   *prometheus.CounterVec
	alarms    *prometheus.CounterVec
	packs     *prometheus.GaugeVec
	state     state

	held      perSurface[held]
	took      perSurface[prometheus.Observer]
	verdicts  found[decision, prometheus.Counter]
	questions found[asked, prometheus.Counter]
	answered  found[string, answering]
}

// New makes a Tally in which nothing has been counted yet.
func New(c Config) *Tally {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Settle == nil {
		c.Settle = func() {}
	}
	if c.Rules == nil {
		c.Rules = func() Rules { return Rules{} }
	}
	t := &Tally{registry: prometheus.NewRegistry(), now: c.Now, settle: c.Settle}
	t.countPassages()
	t.countNames(c)
	t.state = newState(t.registry, c.Now)
	showRules(t.registry, c.Rules)
	t.packs = newPacks(t.registry)
	showFirewall(t.registry, c.Firewall)
	if c.Certificates != nil {
		t.registry.MustRegister(certificates(c.Certificates))
	}
	t.describeProcess(c)
	return t
}

func (t *Tally) countPassages() {
	t.decisions = counters(t.registry, "gatehouse_decisions_total",
		"Passages by their last verdict: HTTP exchanges, tunnels, redirected connections, published requests and DNS questions, each counted once, when it ends.",
		"surface", "verdict", "rule", "reason")
	t.duration = histograms(t.registry, "gatehouse_request_duration_seconds",
		"Time from the first byte of a passage to its last.",
		[]float64{.001, .005, .025, .1, .5, 2, 10, 60, 600, 3600}, "surface")
	t.firstByte = histograms(t.registry, "gatehouse_first_byte_seconds",
		"Time from the first byte of a permitted passage to the first byte of its answer.",
		[]float64{.001, .005, .025, .1, .25, 1, 5, 30}, "surface")
	t.relayed = counters(t.registry, "gatehouse_relayed_bytes_total",
		"Octets of bodies and tunnels, sent to the destination or received from it, counted when the passage ends.",
		"surface", "direction")
	t.faults = counters(t.registry, "gatehouse_inspection_faults_total",
		"TLS that was to be looked into and could not be: between client and gate, or between gate and destination.",
		"fault")
	t.open = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "gatehouse_open_connections", Help: "Passages that are open now: exchanges and tunnels under way.",
	}, []string{"surface"})
	t.registry.MustRegister(t.open)
}

func (t *Tally) countNames(c Config) {
	t.queries = counters(t.registry, "gatehouse_dns_queries_total",
		"DNS questions by verdict and by the type that was asked for.", "verdict", "qtype")
	t.upstream = histograms(t.registry, "gatehouse_dns_upstream_duration_seconds",
		"Time an upstream DNS server took to answer, or until it was given up.",
		[]float64{.001, .005, .02, .05, .1, .25, .5, 1, 2, 5}, "upstream")
	t.failures = counters(t.registry, "gatehouse_dns_upstream_failures_total",
		"Attempts at an upstream DNS server that brought no usable answer; one that was given up because another was quicker is none.", "upstream")
	t.parents = counters(t.registry, "gatehouse_parent_failures_total",
		"What a parent proxy did not do, by its name in gatehouse.toml and the cause.", "parent", "cause")
	t.alarms = counters(t.registry, "gatehouse_alarms_total",
		"Alarms to a person, by what they are about and whether they were sent; one that is tried again counts with each attempt.", "kind", "result")
	entries, hits := func() float64 { return 0 }, func() float64 { return 0 }
	if c.CacheEntries != nil {
		entries = func() float64 { return float64(c.CacheEntries()) }
	}
	if c.CacheHits != nil {
		hits = func() float64 { return float64(c.CacheHits()) }
	}
	t.registry.MustRegister(
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "gatehouse_admin_connections_refused_total",
			Help: "Connections to the admin and metrics listeners that were closed at once: their client or all together had as many open as they may.",
		}, number(c.AdminRefused)),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "gatehouse_pac_connections_refused_total",
			Help: "Connections to the PAC listeners that were closed at once: their client or all together had as many open as they may.",
		}, number(c.PACRefused)),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gatehouse_dns_cache_entries", Help: "Answers of upstream servers that the DNS cache holds.",
		}, entries),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "gatehouse_dns_cache_hits_total", Help: "Look-ups that the DNS cache answered.",
		}, hits),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "gatehouse_dns_connections_refused_total",
			Help: "DNS connections over TCP or TLS that were closed at once: their client, its network or all together had as many open as they may.",
		}, number(c.NameLinesRefused)))
}

// number reads a count at each scrape; nil is a count of nothing.
func number(of func() uint64) func() float64 {
	if of == nil {
		return func() float64 { return 0 }
	}
	return func() float64 { return float64(of()) }
}

func (t *Tally) describeProcess(c Config) {
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "gatehouse_build_info", Help: "Always 1; the labels say what is running.",
		ConstLabels: prometheus.Labels{"version": c.Version, "revision": c.Revision, "goversion": c.GoVersion},
	})
	build.Set(1)
	t.registry.MustRegister(build,
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "gatehouse_log_dropped_total",
			Help: "Lines of the decision log that were never written: the disk was full or the reader too slow.",
		}, number(c.LogDropped)),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "gatehouse_syslog_dropped_total",
			Help: "Decisions that were never sent to the syslog server: it was away for too long or too slow.",
		}, number(c.SyslogDropped)),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
}

func counters(r *prometheus.Registry, name, help string, labels ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	r.MustRegister(v)
	return v
}

func histograms(r *prometheus.Registry, name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	r.MustRegister(v)
	return v
}

// Opened implements flow.Opener.
func (t *Tally) Opened(s policy.Surface) { t.lasting(s).open.Inc() }

// Repeated implements flow.Repeater, for passages of which nothing stays open:
// DNS questions.
func (t *Tally) Repeated(r *flow.Record, n int, took time.Duration) {
	v := r.Verdict
	t.decision(r.Surface, v).Add(float64(n))
	t.query(v, r.Query).Add(float64(n))
	duration := t.durations(r.Surface)
	for range n {
		duration.Observe(took.Seconds())
	}
}

// Record implements flow.Sink. The line that a long passage gets at its start
// counts nothing: the passage is counted when it ends; and repeats have been
// counted when their line comes.
func (t *Tally) Record(r *flow.Record) {
	if r.Open || r.Repeats > 0 {
		return
	}
	v := r.Verdict
	t.decision(r.Surface, v).Inc()
	t.durations(r.Surface).Observe(r.Duration.Seconds())
	if r.Surface == policy.DNS {
		t.query(v, r.Query).Inc()
		return
	}
	if r.Fault != "" {
		t.faults.WithLabelValues(fault(r.Fault)).Inc()
	}
	h := t.lasting(r.Surface)
	h.open.Dec()
	h.sent.Add(float64(r.Sent))
	h.received.Add(float64(r.Received))
	if v.Allowed() && r.FirstByte > 0 {
		h.firstByte.Observe(r.FirstByte.Seconds())
	}
}

// UpstreamAnswered notes how long an upstream DNS server took, and the error
// where it gave no usable answer; context.Canceled blames nobody. The name is
// that of the configuration, never one from the wire.
func (t *Tally) UpstreamAnswered(upstream string, took time.Duration, err error) {
	a := t.answers(upstream)
	a.took.Observe(took.Seconds())
	if err != nil && !errors.Is(err, context.Canceled) {
		a.failed.Inc()
	}
}

// ParentFailed counts what a parent proxy did not do. Its name is that of the
// configuration, and the cause one of a fixed list.
func (t *Tally) ParentFailed(parent, cause string) { t.parents.WithLabelValues(parent, cause).Inc() }

// Alarmed counts an alarm; kind and result are of fixed lists.
func (t *Tally) Alarmed(kind, result string) { t.alarms.WithLabelValues(kind, result).Inc() }

// Handler serves the tally in the formats of Prometheus.
func (t *Tally) Handler() http.Handler {
	serve := promhttp.HandlerFor(t.registry, promhttp.HandlerOpts{Registry: t.registry})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.settle()
		serve.ServeHTTP(w, r)
	})
}
