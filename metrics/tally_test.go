package metrics

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/flow"
	"gatehouse/policy"
)

func now() time.Time { return time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC) }

func fed(t *testing.T) *Tally {
	t.Helper()
	tally := New(Config{
		Now: now, Version: "v1.2.3", Revision: "abc", GoVersion: "go1.26",
		LogDropped:   func() uint64 { return 3 },
		CacheEntries: func() int { return 12 },
		CacheHits:    func() uint64 { return 40 },

		NameLinesRefused: func() uint64 { return 5 },
		AdminRefused:     func() uint64 { return 6 },
		PACRefused:       func() uint64 { return 7 },
		Certificates:     func() map[string]time.Time { return map[string]time.Time{"console": now(), "DNS over TLS": {}} },

		Rules:    func() Rules { return Rules{InForce: true, Monitor: true} },
		Firewall: func() Firewall { return Firewall{Loaded: true, Pins: 3} },
	})
	tally.RulesLoaded("digest", 2)
	tally.TagsLoaded(375, now().AddDate(0, 0, -2))
	tally.PackTried("xporter", true)
	tally.ParentFailed("county", "login")
	tally.UpstreamAnswered("9.9.9.9", 20*time.Millisecond, nil)
	tally.UpstreamAnswered("192.0.2.1", time.Second, os.ErrDeadlineExceeded)
	tally.UpstreamAnswered("192.0.2.1", time.Second, fmt.Errorf("read: %w", context.Canceled))
	allowed := policy.Verdict{Effect: policy.Allow, Reason: policy.Matched, Rule: &policy.Rule{Name: "exam-board"}}
	for _, r := range []flow.Record{
		{Surface: policy.HTTP, Verdict: allowed, Sent: 5, Received: 7, FirstByte: time.Millisecond, Duration: time.Second},
		{Surface: policy.HTTP, Verdict: allowed, Open: true},
		{Surface: policy.CONNECT, Verdict: policy.Verdict{Reason: policy.HostNotListed}},
		{Surface: policy.DNS, Query: "A", Verdict: policy.Verdict{Effect: policy.Allow, Would: true, Reason: policy.HostNotListed}},
		{Surface: policy.DNS, Query: "TYPE65280", Verdict: policy.Verdict{Reason: policy.QueryTypeNotAllowed}},
	} {
		if r.Surface != policy.DNS && !r.Open {
			tally.Opened(r.Surface)
		}
		tally.Record(&r)
	}
	tally.Opened(policy.CONNECT)
	return tally
}

func TestEachPassageIsCountedOnceAtItsLastVerdict(t *testing.T) {
	require.NoError(t, testutil.GatherAndCompare(fed(t).registry, strings.NewReader(`
# HELP gatehouse_decisions_total Passages by their last verdict: HTTP exchanges, tunnels, redirected connections, published requests and DNS questions, each counted once, when it ends.
# TYPE gatehouse_decisions_total counter
gatehouse_decisions_total{reason="host-not-listed",rule="",surface="connect",verdict="denied"} 1
gatehouse_decisions_total{reason="host-not-listed",rule="",surface="dns",verdict="would_deny"} 1
gatehouse_decisions_total{reason="matched",rule="exam-board",surface="http",verdict="allowed"} 1
gatehouse_decisions_total{reason="query-type-not-allowed",rule="",surface="dns",verdict="denied"} 1
# HELP gatehouse_dns_queries_total DNS questions by verdict and by the type that was asked for.
# TYPE gatehouse_dns_queries_total counter
gatehouse_dns_queries_total{qtype="A",verdict="would_deny"} 1
gatehouse_dns_queries_total{qtype="other",verdict="denied"} 1
# HELP gatehouse_open_connections Passages that are open now: exchanges and tunnels under way.
# TYPE gatehouse_open_connections gauge
gatehouse_open_connections{surface="connect"} 1
gatehouse_open_connections{surface="http"} 0
# HELP gatehouse_relayed_bytes_total Octets of bodies and tunnels, sent to the destination or received from it, counted when the passage ends.
# TYPE gatehouse_relayed_bytes_total counter
gatehouse_relayed_bytes_total{direction="received",surface="connect"} 0
gatehouse_relayed_bytes_total{direction="received",surface="http"} 7
gatehouse_relayed_bytes_total{direction="sent",surface="connect"} 0
gatehouse_relayed_bytes_total{direction="sent",surface="http"} 5
`), "gatehouse_decisions_total", "gatehouse_dns_queries_total", "gatehouse_open_connections", "gatehouse_relayed_bytes_total"))
}

func TestStateSaysWhatIsInForce(t *testing.T) {
	tally := fed(t)
	tally.RulesLoaded("newer", 0)
	tally.RulesRefused()
	require.NoError(t, testutil.GatherAndCompare(tally.registry, strings.NewReader(`
# HELP gatehouse_azure_tags_age_seconds Age of the Azure service tags in force, by the date of their file.
# TYPE gatehouse_azure_tags_age_seconds gauge
gatehouse_azure_tags_age_seconds 172800
# HELP gatehouse_azure_tags_change_number The change number of the Azure service tags in force.
# TYPE gatehouse_azure_tags_change_number gauge
gatehouse_azure_tags_change_number 375
# HELP gatehouse_build_info Always 1; the labels say what is running.
# TYPE gatehouse_build_info gauge
gatehouse_build_info{goversion="go1.26",revision="abc",version="v1.2.3"} 1
# HELP gatehouse_certificate_expiry_timestamp_seconds When the certificate that a door of the gate shows ends, 0 where there is none that could be shown.
# TYPE gatehouse_certificate_expiry_timestamp_seconds gauge
gatehouse_certificate_expiry_timestamp_seconds{certificate="DNS over TLS"} 0
gatehouse_certificate_expiry_timestamp_seconds{certificate="console"} 1.772600767e+09
# HELP gatehouse_admin_connections_refused_total Connections to the admin and metrics listeners that were closed at once: their client or all together had as many open as they may.
# TYPE gatehouse_admin_connections_refused_total counter
gatehouse_admin_connections_refused_total 6
# HELP gatehouse_pac_connections_refused_total Connections to the PAC listeners that were closed at once: their client or all together had as many open as they may.
# TYPE gatehouse_pac_connections_refused_total counter
gatehouse_pac_connections_refused_total 7
# HELP gatehouse_dns_connections_refused_total DNS connections over TCP or TLS that were closed at once: their client, its network or all together had as many open as they may.
# TYPE gatehouse_dns_connections_refused_total counter
gatehouse_dns_connections_refused_total 5
# HELP gatehouse_dns_cache_entries Answers of upstream servers that the DNS cache holds.
# TYPE gatehouse_dns_cache_entries gauge
gatehouse_dns_cache_entries 12
# HELP gatehouse_dns_upstream_failures_total Attempts at an upstream DNS server that brought no usable answer; one that was given up because another was quicker is none.
# TYPE gatehouse_dns_upstream_failures_total counter
gatehouse_dns_upstream_failures_total{upstream="192.0.2.1"} 1
gatehouse_dns_upstream_failures_total{upstream="9.9.9.9"} 0
# HELP gatehouse_log_dropped_total Lines of the decision log that were never written: the disk was full or the reader too slow.
# TYPE gatehouse_log_dropped_total counter
gatehouse_log_dropped_total 3
# HELP gatehouse_rules_in_force 1 where rules are in force, 0 where there are none and everything is refused.
# TYPE gatehouse_rules_in_force gauge
gatehouse_rules_in_force 1
# HELP gatehouse_rules_info Always 1; the label is the SHA-256 of the rules file in force.
# TYPE gatehouse_rules_info gauge
gatehouse_rules_info{sha256="newer"} 1
# HELP gatehouse_rules_last_good 1 where the last good file is in force, because the one in its place cannot be loaded.
# TYPE gatehouse_rules_last_good gauge
gatehouse_rules_last_good 0
# HELP gatehouse_rules_last_reload_success_timestamp_seconds When a rules file was last put in force.
# TYPE gatehouse_rules_last_reload_success_timestamp_seconds gauge
gatehouse_rules_last_reload_success_timestamp_seconds 1.772600767e+09
# HELP gatehouse_rules_last_reload_successful 1 where the rules file that is in its place is the one in force, 0 where the last attempt to load it failed.
# TYPE gatehouse_rules_last_reload_successful gauge
gatehouse_rules_last_reload_successful 0
# HELP gatehouse_rules_monitor_mode 1 where the rules are in monitor mode: what they would refuse is let through.
# TYPE gatehouse_rules_monitor_mode gauge
gatehouse_rules_monitor_mode 1
`), "gatehouse_azure_tags_age_seconds", "gatehouse_azure_tags_change_number", "gatehouse_build_info",
		"gatehouse_certificate_expiry_timestamp_seconds", "gatehouse_dns_connections_refused_total", "gatehouse_admin_connections_refused_total", "gatehouse_pac_connections_refused_total",
		"gatehouse_dns_cache_entries", "gatehouse_dns_upstream_failures_total", "gatehouse_log_dropped_total", "gatehouse_rules_info",
		"gatehouse_rules_in_force", "gatehouse_rules_last_good", "gatehouse_rules_monitor_mode",
		"gatehouse_rules_last_reload_success_timestamp_seconds", "gatehouse_rules_last_reload_successful"))
}

func TestTheInspectionCAIsToldOfOnceInspectionIsOn(t *testing.T) {
	const name = "gatehouse_inspection_ca_expiry_timestamp_seconds"
	tally := New(Config{Now: now})
	count, err := testutil.GatherAndCount(tally.registry, name)
	require.NoError(t, err)
	require.Zero(t, count, "off: an alert on the time that is left must not fire")
	tally.InspectionCA(now())
	require.Equal(t, float64(now().Unix()), testutil.ToFloat64(tally.state.caExpiry))
	tally.InspectionCA(time.Time{})
	require.Zero(t, testutil.ToFloat64(tally.state.caExpiry), "on, and no CA")
}

func TestMetricsPassPromlint(t *testing.T) {
	problems, err := testutil.GatherAndLint(fed(t).registry)
	require.NoError(t, err)
	require.Empty(t, problems)
}

func TestRuleNamesBeyondTheFirstThousandShareASeries(t *testing.T) {
	tally := New(Config{})
	for i := range maxRules + 500 {
		tally.Record(&flow.Record{Surface: policy.DNS, Verdict: policy.Verdict{Rule: &policy.Rule{Name: fmt.Sprint("rule-", i)}}})
	}
	require.Equal(t, maxRules+1, testutil.CollectAndCount(tally.decisions))
	require.Equal(t, 500.0, testutil.ToFloat64(tally.decisions.WithLabelValues("dns", "denied", "other", "no-policy")))
	require.Equal(t, "rule-3", tally.rules.label("rule-3"), "a name once known keeps its series")
}

// documented finds the metrics of docs/metrics.md: the first cell of a table's
// row, `name{label,label}`.
func documented(t *testing.T) []string {
	text, err := os.ReadFile("../docs/metrics.md")
	require.NoError(t, err)
	var names []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(gatehouse_[a-z0-9_]+(?:\\{[a-z0-9_,]+\\})?)` \\|").FindAllStringSubmatch(string(text), -1) {
		names = append(names, m[1])
	}
	return names
}

func TestDocumentationAndCodeAgreeBothWays(t *testing.T) {
	descs := make(chan *prometheus.Desc, 1000)
	fed(t).registry.Describe(descs)
	close(descs)
	parts := regexp.MustCompile(`^Desc\{fqName: "(gatehouse_[^"]+)", help: ".*", constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)
	constant := regexp.MustCompile(`(\w+)="`)
	var inCode []string
	for d := range descs {
		m := parts.FindStringSubmatch(d.String())
		if m == nil {
			continue // the runtime's own
		}
		labels := m[3]
		if fixed := constant.FindAllStringSubmatch(m[2], -1); fixed != nil {
			names := []string{}
			for _, f := range fixed {
				names = append(names, f[1])
			}
			labels = strings.Join(names, ",")
		}
		if labels != "" {
			labels = "{" + labels + "}"
		}
		inCode = append(inCode, m[1]+labels)
	}
	inDocs := documented(t)
	slices.Sort(inCode)
	slices.Sort(inDocs)
	require.NotEmpty(t, inCode)
	require.Equal(t, inCode, inDocs)
}

func TestFaultsAreCountedAndDocumented(t *testing.T) {
	tally := New(Config{})
	docs, err := os.ReadFile("../docs/metrics.md")
	require.NoError(t, err)
	for _, f := range flow.Faults() {
		tally.Record(&flow.Record{Surface: policy.CONNECT, Fault: f})
		require.Equal(t, 1.0, testutil.ToFloat64(tally.faults.WithLabelValues(string(f))))
		require.Contains(t, string(docs), "`"+string(f)+"`")
	}
	tally.Record(&flow.Record{Surface: policy.CONNECT, Fault: "from the wire"})
	require.Equal(t, 1.0, testutil.ToFloat64(tally.faults.WithLabelValues("other")))
	tally.Record(&flow.Record{Surface: policy.CONNECT})
	require.Equal(t, len(flow.Faults())+1, testutil.CollectAndCount(tally.faults), "a passage without fault is counted as one")
}

func TestHandlerServesTheTally(t *testing.T) {
	w := httptest.NewRecorder()
	fed(t).Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	require.Equal(t, 200, w.Code)
	require.Contains(t, w.Body.String(), "gatehouse_open_connections{surface=\"connect\"} 1\n")
	require.Contains(t, w.Body.String(), "go_goroutines ")
}

func BenchmarkRecord(b *testing.B) {
	tally := New(Config{})
	r := &flow.Record{Surface: policy.HTTP, FirstByte: time.Millisecond,
		Verdict: policy.Verdict{Effect: policy.Allow, Reason: policy.Matched, Rule: &policy.Rule{Name: "x"}}}
	b.ReportAllocs()
	for b.Loop() {
		tally.Record(r)
	}
}

func TestRepeatsAreCountedOneByOneAndTheirLineIsNot(t *testing.T) {
	settled := 0
	tally := New(Config{Now: now, Settle: func() { settled++ }})
	first := &flow.Record{Surface: policy.DNS, Query: "A", Verdict: policy.Verdict{Reason: policy.HostNotListed}}
	tally.Record(first)
	tally.Repeated(first, 4, time.Millisecond)
	summary := *first
	summary.Repeats = 4
	tally.Record(&summary)
	answer := httptest.NewRecorder()
	tally.Handler().ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	for _, line := range []string{
		`gatehouse_decisions_total{reason="host-not-listed",rule="",surface="dns",verdict="denied"} 5`,
		`gatehouse_dns_queries_total{qtype="A",verdict="denied"} 5`,
		`gatehouse_request_duration_seconds_count{surface="dns"} 5`,
	} {
		require.Contains(t, answer.Body.String(), line)
	}
	require.Equal(t, 1, settled)
}
