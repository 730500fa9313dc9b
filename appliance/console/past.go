package console

import (
	"errors"
	"net/http"
	"time"
)

// Change is one thing that somebody did, or tried.
type Change struct {
	Time time.Time `json:"ts"`
	By   string    `json:"by"`
	// What is start, edit, reload, apply, confirm, revert, import, ca, backup or restore.
	What   string   `json:"what"`
	Done   bool     `json:"done"`   // false: it was refused; Words say why
	SHA256 string   `json:"sha256"` // of the rules file that it put in force; empty: none
	Words  []string `json:"words"`
}

// Version is a rules file that was in force from then on.
type Version struct {
	Change
	Kept    bool  `json:"kept"`  // it can be shown and returned to
	Bytes   int64 `json:"bytes"` // 0 where it is not kept
	InForce bool  `json:"in_force"`
}

// Line is a line of a comparison; Sort is "same", "removed", "added" or "gap"
// (lines that are the same and not shown).
type Line struct {
	Sort   string `json:"sort"`
	Before int    `json:"before"` // its number, from 1; 0: not in the file of before
	After  int    `json:"after"`
	Text   string `json:"text"`
}

// Past is what the House remembers of changes.
type Past interface {
	// Versions are the rules files that were in force, the newest first.
	Versions() []Version
	// Version is a kept file. The error is for whoever asked.
	Version(sha256 string) ([]byte, error)
	// Compare tells two kept files apart.
	Compare(before, after string) ([]Line, error)
	// Changes are the newest first, at most n.
	Changes(n int) []Change
}

const (
	usualChanges = 200
	mostChanges  = 10_000
	// mostLines bounds how many lines of a comparison one page shows.
	mostLines = 5000
)

func (c *Console) history(w http.ResponseWriter, _ *http.Request) {
	r := c.house.Rules()
	c.show(w, http.StatusOK, "history", "History", struct {
		Versions []Version
		Base     string
		Writable bool
	}{c.house.Versions(), r.Base, r.Writable})
}

// comparison is what the page of that name shows.
type comparison struct {
	From, To string
	Lines    []Line
	More     int
	Error    string
}

func (c *Console) compare(w http.ResponseWriter, r *http.Request) {
	d := comparison{From: r.URL.Query().Get("from"), To: r.URL.Query().Get("to")}
	lines, err := c.house.Compare(d.From, d.To)
	status := http.StatusOK
	switch {
	case d.From == "" || d.To == "":
		d.Error, status = "Choose two files of the history to compare: one “from” and one “to”.", http.StatusBadRequest
	case err != nil:
		d.Error, status = err.Error(), http.StatusNotFound
	}
	d.Lines = lines[:min(len(lines), mostLines)]
	d.More = len(lines) - len(d.Lines)
	c.show(w, status, "compare", "What differs", d)
}

func (c *Console) version(w http.ResponseWriter, r *http.Request) {
	sha := r.PathValue("sha256")
	text, err := c.house.Version(sha)
	if err != nil {
		c.show(w, http.StatusNotFound, "missing", "History", err.Error())
		return
	}
	rules := c.house.Rules()
	c.show(w, http.StatusOK, "version", "A file of the history", struct {
		SHA256, Text, Base string
		Writable           bool
	}{sha, string(text), rules.Base, rules.Writable})
}

// goBack puts a file of the history on trial, like any other draft.
func (c *Console) goBack(w http.ResponseWriter, r *http.Request) {
	text, err := c.house.Version(r.PostFormValue("sha256"))
	if err != nil {
		c.show(w, http.StatusNotFound, "missing", "History", err.Error())
		return
	}
	t := tried{Text: string(text), Base: r.PostFormValue("base"), Writable: c.house.Rules().Writable}
	c.put(&t, Asker(r))
	t.show(c, w)
}

func (c *Console) changes(w http.ResponseWriter, r *http.Request) {
	n := number(r.URL.Query().Get("n"), usualChanges, mostChanges)
	c.show(w, http.StatusOK, "changes", "Who changed what", struct {
		N       int
		Changes []Change
	}{n, c.house.Changes(n)})
}

func (c *Console) apiHistory(w http.ResponseWriter, _ *http.Request) {
	tell(w, http.StatusOK, map[string]any{"versions": append([]Version{}, c.house.Versions()...)})
}

// apiVersion gives a file of the history as it was.
func (c *Console) apiVersion(w http.ResponseWriter, r *http.Request) {
	text, err := c.house.Version(r.PathValue("sha256"))
	if err != nil {
		trouble(w, http.StatusNotFound, err)
		return
	}
	w.Header().Set("Content-Type", "application/toml")
	w.Header().Set("Cache-Control", "no-store")
	w.Write(text)
}

func (c *Console) apiCompare(w http.ResponseWriter, r *http.Request) {
	lines, err := c.house.Compare(r.URL.Query().Get("from"), r.URL.Query().Get("to"))
	if err != nil {
		trouble(w, http.StatusNotFound, err)
		return
	}
	tell(w, http.StatusOK, map[string]any{"lines": append([]Line{}, lines...)})
}

func (c *Console) apiChanges(w http.ResponseWriter, r *http.Request) {
	n := number(r.URL.Query().Get("n"), usualChanges, mostChanges)
	tell(w, http.StatusOK, map[string]any{"changes": append([]Change{}, c.house.Changes(n)...)})
}

// conflict is the status of a change that was refused.
func conflict(err error) int {
	if errors.Is(err, ErrReadOnly) {
		return http.StatusForbidden
	}
	return http.StatusConflict
}
