package metrics

import "github.com/prometheus/client_golang/prometheus"

func newPacks(r *prometheus.Registry) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "gatehouse_pack_ready",
		Help: "1 where all that a pack asks for worked when the doctor last tried it, 0 where something did not; no series before that.",
	}, []string{"pack"})
	r.MustRegister(g)
	return g
}

// PackTried notes whether all that a pack in use asks for works.
func (t *Tally) PackTried(pack string, ready bool) {
	value := 0.0
	if ready {
		value = 1
	}
	t.packs.WithLabelValues(pack).Set(value)
}
