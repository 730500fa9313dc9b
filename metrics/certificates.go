package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// certificates shows, at each scrape, when each certificate that the gate shows ends.
// A door that is gone leaves no series behind.
type certificates func() map[string]time.Time

var certificateEnd = prometheus.NewDesc("gatehouse_certificate_expiry_timestamp_seconds",
	"When the certificate that a door of the gate shows ends, 0 where there is none that could be shown.",
	[]string{"certificate"}, nil)

// Describe implements prometheus.Collector.
func (certificates) Describe(into chan<- *prometheus.Desc) { into <- certificateEnd }

// Collect implements prometheus.Collector.
func (c certificates) Collect(into chan<- prometheus.Metric) {
	for name, end := range c() {
		into <- prometheus.MustNewConstMetric(certificateEnd, prometheus.GaugeValue, unixOrZero(end), name)
	}
}

// unixOrZero is a time as Prometheus has it; the zero time is 0.
func unixOrZero(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.Unix())
}
