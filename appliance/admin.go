//go:build linux

package appliance

import (
	"io"
	"net/http"

	"gatehouse/appliance/console"
	"gatehouse/appliance/journal"
)

// adminHandler serves the admin listener, behind its doors.
func (a *Appliance) adminHandler() http.Handler {
	mux := a.scrapeHandler()
	mux.HandleFunc("POST /-/reload", a.reload)
	console.New(window{a}, a.Log).Register(mux)
	var h http.Handler = doors{names: a.Config.Listen.AdminNames, next: webConfig(a.Config.Listen.WebConfig).named(mux)}
	if a.Config.Listen.WebConfig != "" {
		h = &loginCheck{web: webConfig(a.Config.Listen.WebConfig), now: a.Now, next: h}
	}
	if !a.Config.Listen.Admin.Loopback() {
		h = webConfig(a.Config.Listen.WebConfig).guard(h)
	}
	return h
}

// scrapeHandler serves what the metrics listeners serve, and nothing else.
func (a *Appliance) scrapeHandler() *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", a.tally.Handler())
	mux.HandleFunc("GET /healthz", healthz)
	mux.HandleFunc("GET /readyz", a.readyz)
	return mux
}

// reload loads the rules file: 200 with what changes, 422 with what is wrong.
// Whoever asks this way has asked: a file that has shrunk is taken.
func (a *Appliance) reload(w http.ResponseWriter, r *http.Request) {
	tell(w, a.rulebook.Reload(cause{console.Asker(r), journal.Reload}, false))
}

func tell(w http.ResponseWriter, o Outcome) {
	plain(w)
	if !o.Taken {
		w.WriteHeader(http.StatusUnprocessableEntity)
	}
	io.WriteString(w, o.text())
}
