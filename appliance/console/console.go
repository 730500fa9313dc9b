// Package console is the window through which people look into the gate: pages
// rendered on the server, usable without JavaScript, and the JSON behind them.
// It decides nothing, keeps nothing and changes nothing by itself; everything
// comes from the House it stands in.
//
// Its handler stands behind the admin listener's doors, which see to login, TLS,
// Host names and requests from strangers' pages.
package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Console serves the pages. New makes one.
type Console struct {
	house House
	log   *slog.Logger
	stall time.Duration // of a live view; 0: as it is
	turns turns         // of heavy work
}

// New makes a Console of a house.
func New(h House, log *slog.Logger) *Console { return &Console{house: h, log: log, turns: newTurns()} }

//go:embed pages
var files embed.FS

// pages are the templates: each the layout with a body of its own. They are parsed when
// somebody first looks: to a gate that starts they are a tenth of its time.
var pages = sync.OnceValue(func() map[string]*template.Template {
	parts := []string{"pages/layout.html", "pages/chart.html", "pages/permit.html"}
	layout := template.Must(template.New("layout.html").Funcs(functions).ParseFS(files, parts...))
	all := map[string]*template.Template{}
	names, err := fs.Glob(files, "pages/*.html")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	for _, name := range names {
		if !slices.Contains(parts, name) {
			all[name] = template.Must(template.Must(layout.Clone()).ParseFS(files, name))
		}
	}
	return all
})

// Register adds the console's pages to a mux.
func (c *Console) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /console.css", built("pages/console.css", "text/css; charset=utf-8"))
	mux.HandleFunc("GET /console.js", built("pages/console.js", "text/javascript; charset=utf-8"))
	for pattern, h := range c.handlers() {
		mux.HandleFunc(pattern, h)
	}
	c.RegisterAPI(mux)
}

// built serves a file that is built in. A browser asks each time whether it has
// changed: pages of a new version do not get on with the script of the old.
func built(name, kind string) http.HandlerFunc {
	text, err := files.ReadFile(name)
	if err != nil {
		panic(err) // it is built in
	}
	tag := fmt.Sprintf(`"%x"`, sha256.Sum256(text))
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("ETag", tag)
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(text))
	}
}

// RegisterAPI adds the JSON interface alone.
func (c *Console) RegisterAPI(mux *http.ServeMux) {
	for pattern, h := range c.api() {
		mux.HandleFunc(pattern, h)
	}
}

func (c *Console) handlers() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"GET /{$}":              c.overview,
		"GET /decisions":        c.decisions,
		"GET /decisions/live":   c.live,
		"GET /decisions/{id}":   c.decision,
		"GET /ask":              c.ask,
		"GET /rules":            c.rules,
		"POST /rules":           c.turns.inTurn(mostForm, c.draft),
		"GET /names":            c.names,
		"GET /history":          c.history,
		"POST /history":         c.turns.inTurn(mostForm, c.goBack),
		"GET /history/compare":  c.compare,
		"GET /history/{sha256}": c.version,
		"GET /changes":          c.changes,
		"GET /backup":           c.backup,
		"POST /backup":          c.turns.inTurn(mostUpload, c.keep),
		"GET /health":           c.health,
		"POST /health":          c.examine,
	}
}

func (c *Console) api() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"GET /api/v1/state":            c.apiState,
		"GET /api/v1/health":           c.apiHealth,
		"GET /api/v1/packs":            c.apiPacks,
		"GET /api/v1/decisions":        c.apiDecisions,
		"GET /api/v1/day":              c.apiDay,
		"GET /api/v1/names":            c.apiNames,
		"GET /api/v1/decisions/live":   c.apiLive,
		"GET /api/v1/decisions/{id}":   c.apiDecision,
		"GET /api/v1/explain":          c.apiExplain,
		"GET /api/v1/rules":            c.apiRules,
		"POST /api/v1/check":           c.turns.inTurn(mostDraft, c.apiCheck),
		"POST /api/v1/apply":           c.turns.inTurn(mostDraft, c.apiApply),
		"POST /api/v1/confirm":         c.apiConfirm,
		"POST /api/v1/revert":          c.apiRevert,
		"GET /api/v1/history":          c.apiHistory,
		"GET /api/v1/history/{sha256}": c.apiVersion,
		"GET /api/v1/compare":          c.apiCompare,
		"POST /api/v1/backup":          c.turns.inTurn(mostDraft, c.apiBackup),
		"POST /api/v1/restore":         c.turns.inTurn(mostBackup, c.apiRestore),
		"GET /api/v1/changes":          c.apiChanges,
		"POST /api/v1/doctor":          c.apiDoctor,
	}
}

// view is what every page gets: which one it is, and its own data.
type view struct {
	Title, At string
	State     State
	Data      any
}

// show renders a page whole before its first byte goes out: a fault in a
// template is a 500, not half a page.
func (c *Console) show(w http.ResponseWriter, status int, page, title string, data any) {
	var b bytes.Buffer
	v := view{Title: title, At: page, State: c.house.State(), Data: data}
	if err := pages()["pages/"+page+".html"].ExecuteTemplate(&b, "layout.html", v); err != nil {
		c.log.Error("a fault in gatehouse: a page of the console cannot be rendered", "page", page, "err", err)
		http.Error(w, "this page has a fault; the log says more", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(b.Bytes())
}

// tell answers with JSON.
func tell(w http.ResponseWriter, status int, data any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.Encode(data) // a reader that has left needs no answer
}

// trouble is how the JSON interface says what is wrong with a question.
func trouble(w http.ResponseWriter, status int, err error) {
	tell(w, status, map[string]string{"error": err.Error()})
}

// number reads a number of a query, held between 1 and most.
func number(text string, usual, most int) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return usual
	}
	return max(1, min(n, most))
}
