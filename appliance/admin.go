//go:build linux

package appliance

import (
	_ "embed"
	"html/template"
	"io"
	"net/http"
)

// adminHandler serves the admin listener, behind its doors.
func (a *Appliance) adminHandler() http.Handler {
	mux := a.scrapeHandler()
	mux.HandleFunc("POST /-/reload", a.reload)
	mux.HandleFunc("GET /{$}", a.page)
	var h http.Handler = doors{names: a.Config.Listen.AdminNames, next: mux}
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
func (a *Appliance) reload(w http.ResponseWriter, _ *http.Request) {
	tell(w, a.rulebook.Reload(false))
}

func tell(w http.ResponseWriter, o Outcome) {
	plain(w)
	if !o.Taken {
		w.WriteHeader(http.StatusUnprocessableEntity)
	}
	io.WriteString(w, o.text())
}

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// page shows the state to somebody with a browser.
func (a *Appliance) page(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	s := a.rulebook.Status()
	var problems []string
	for _, p := range s.Refused {
		problems = append(problems, p.String())
	}
	err := pageTemplate.Execute(w, struct {
		State, Problems []string
		Version         string
		Recent          []line
	}{a.state(), problems, a.Build.Version, a.recent(50)})
	if err != nil {
		a.Log.Debug("the state page could not be written", "err", err)
	}
}

// line is one decision as the page shows it.
type line struct{ Time, Surface, Client, Passage, Verdict, Reason, Rule, ID string }

func (a *Appliance) recent(n int) []line {
	var lines []line
	for _, r := range a.ring.Recent(n) {
		lines = append(lines, line{
			Time: r.Time.In(a.Config.Timezone.Zone()).Format("15:04:05"), Surface: r.Surface.String(), Client: r.Client.String(),
			Passage: passage(r), Verdict: r.Verdict.String(), Reason: r.Verdict.Reason.String(), Rule: r.Verdict.RuleName(), ID: r.ID,
		})
	}
	return lines
}
