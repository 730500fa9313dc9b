package console

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	lastRefusals   = 10 // on the first page
	usualDecisions = 200
	mostDecisions  = 10_000
	// mostShown bounds the rows of one page, each of which costs some 50 µs: the rest is
	// on the pages behind it.
	mostShown = 300
	// mostDraft bounds a rules file that is sent here (octets), as one on the disk is
	// bounded, and mostForm one in a form, where an octet may take three.
	mostDraft = 8 << 20
	mostForm  = 16 << 20
)

func (c *Console) overview(w http.ResponseWriter, r *http.Request) {
	var refused []Decision
	for _, verdict := range []string{"denied", "would_deny"} {
		refused = append(refused, c.house.Decisions(r.Context(), Filter{Verdict: verdict}, lastRefusals)...)
	}
	slices.SortStableFunc(refused, func(a, b Decision) int { return b.Time.Compare(a.Time) })
	c.show(w, http.StatusOK, "overview", "Is my MIS connected?", struct {
		Packs      []Pack
		Refused    []Decision
		Unenforced []string
	}{c.house.Packs(), refused[:min(len(refused), lastRefusals)], c.house.State().Unenforced})
}

func filterOf(r *http.Request) Filter {
	v := r.URL.Query()
	get := func(name string) string { return strings.TrimSpace(v.Get(name)) }
	return Filter{Surface: get("surface"), Client: get("client"), Host: get("host"), Verdict: get("verdict"), Reason: get("reason"), Rule: get("rule")}
}

func (c *Console) decisions(w http.ResponseWriter, r *http.Request) {
	before, f, n := r.URL.Query().Get("before"), filterOf(r), number(r.URL.Query().Get("n"), usualDecisions, mostShown)
	page, err := c.house.Page(r.Context(), f, n, before)
	status, said := http.StatusOK, ""
	if err != nil {
		status, said = http.StatusNotFound, err.Error()
	}
	list, still := page.Decisions, f.query()
	if n != usualDecisions {
		still.Set("n", strconv.Itoa(n))
	}
	stream := f.query()
	if len(list) > 0 {
		stream.Set("after", list[0].ID)
	}
	newest := "/decisions?" + still.Encode()
	older := ""
	if page.Next != "" {
		still.Set("before", page.Next)
		older = "/decisions?" + still.Encode()
	}
	live := r.URL.Query().Get("live") != "" && before == "" // new ones stand on the first page
	c.show(w, status, "decisions", "Decisions", struct {
		Filter         Filter
		Live           bool
		Stream, Newest string // where new ones come from; the first page, without them
		Older          string // the page behind this one; empty: there is none
		Paged          bool   // it is not the first
		Error          string
		N              int
		Decisions      []Decision
		Chart          chart
	}{f, live, "/decisions/live?" + stream.Encode(), newest, older, before != "", said, n, list, chartOf(c.house.Day())})
}

// query is the filter as filterOf reads it.
func (f Filter) query() url.Values {
	v := url.Values{}
	for name, value := range map[string]string{"surface": f.Surface, "client": f.Client, "host": f.Host, "verdict": f.Verdict, "reason": f.Reason, "rule": f.Rule} {
		if value != "" {
			v.Set(name, value)
		}
	}
	return v
}

func (c *Console) decision(w http.ResponseWriter, r *http.Request) {
	id := strings.ToUpper(r.PathValue("id"))
	a, ok := c.house.Decision(r.Context(), id)
	if !ok {
		c.show(w, http.StatusNotFound, "missing", "Decision "+id, id+" is neither among the decisions that are kept in memory nor in the decision log of this gate. Ask about the passage itself, on the page Ask.")
		return
	}
	c.show(w, http.StatusOK, "answer", "Decision "+id, a)
}

// asked is the form of the page "Ask".
type asked struct {
	Client, Target, Error string
	Answer                *Answer
}

func (c *Console) ask(w http.ResponseWriter, r *http.Request) {
	q := asked{Client: strings.TrimSpace(r.URL.Query().Get("client")), Target: strings.TrimSpace(r.URL.Query().Get("target"))}
	status := http.StatusOK
	if q.Target != "" {
		a, err := c.house.Ask(q.Client, q.Target)
		if err != nil {
			q.Error, status = err.Error(), http.StatusBadRequest
		} else {
			q.Answer = &a
		}
	}
	c.show(w, status, "ask", "Ask", q)
}

func (c *Console) rules(w http.ResponseWriter, _ *http.Request) {
	c.show(w, http.StatusOK, "rules", "Rules", c.house.Rules())
}

// tried is a draft with what became of it.
type tried struct {
	Text     string
	Base     string // digest of the file that it was made from
	Checked  *Draft
	Writable bool
	Trial    *Trial
	Done     string // what has been done, in a sentence
	Error    string
	status   int // of HTTP; 0: 200
}

// draft checks a draft, applies it, confirms it or takes it back, as the button
// says that was pressed.
func (c *Console) draft(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, mostForm)
	r.Body = http.MaxBytesReader(w, r.Body, mostForm) // else package http takes 10 MB
	if err := r.ParseForm(); err != nil {
		http.Error(w, "the draft cannot be read: "+err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	t := tried{Text: unixLines(r.PostFormValue("text")), Base: r.PostFormValue("base"), Writable: c.house.Rules().Writable}
	var err error
	switch r.PostFormValue("do") {
	case "apply":
		c.put(&t, Asker(r))
	case "confirm":
		if err = c.house.Confirm(Asker(r), r.PostFormValue("trial")); err == nil {
			t.Done = "The rules are kept."
		}
	case "revert":
		if err = c.house.Revert(Asker(r), r.PostFormValue("trial")); err == nil {
			t.Done = "The file of before is back in force."
		}
	default:
		d := c.house.Check([]byte(t.Text))
		t.Checked = &d
	}
	if err != nil {
		t.Error, t.status = err.Error(), conflict(err)
	}
	t.show(c, w)
}

// put checks a draft and puts it on trial, where it can be loaded.
func (c *Console) put(t *tried, by string) {
	d := c.house.Check([]byte(t.Text))
	if t.Checked = &d; !d.Loadable {
		return
	}
	trial, err := c.house.Apply(by, t.Base, []byte(t.Text))
	if err != nil {
		t.Error, t.status = err.Error(), conflict(err)
		return
	}
	t.Trial, t.Base = &trial, trial.SHA256
	t.Done = "The draft is in force. Confirm it by " + trial.Until.Format("15:04:05") + ", or the file of before comes back."
}

func (t *tried) show(c *Console, w http.ResponseWriter) {
	c.show(w, max(t.status, http.StatusOK), "draft", "Draft", t)
}

// unixLines undoes what forms do to line ends (HTML, section 4.10.21.8): a rules
// file keeps the ones it had, and here they were all one kind.
func unixLines(s string) string { return strings.ReplaceAll(s, "\r\n", "\n") }

func (c *Console) health(w http.ResponseWriter, _ *http.Request) {
	c.show(w, http.StatusOK, "health", "Health", c.house.Health())
}

// examine waits for the doctor, who waits for the slowest of many hosts.
func (c *Console) examine(w http.ResponseWriter, r *http.Request) {
	patience(w)
	e, err := c.house.Examine(r.Context(), r.PostFormValue("pack"), false)
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	h := c.house.Health()
	h.Doctor = &e
	c.show(w, http.StatusOK, "health", "Health", h)
}

func patience(w http.ResponseWriter) {
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(5 * time.Minute))
}

func (c *Console) apiState(w http.ResponseWriter, _ *http.Request) {
	tell(w, http.StatusOK, c.house.State())
}

func (c *Console) apiHealth(w http.ResponseWriter, _ *http.Request) {
	tell(w, http.StatusOK, c.house.Health())
}

func (c *Console) apiPacks(w http.ResponseWriter, _ *http.Request) {
	tell(w, http.StatusOK, map[string]any{"packs": c.house.Packs()})
}

func (c *Console) apiDecisions(w http.ResponseWriter, r *http.Request) {
	n := number(r.URL.Query().Get("n"), usualDecisions, mostDecisions)
	page, err := c.house.Page(r.Context(), filterOf(r), n, r.URL.Query().Get("before"))
	if err != nil {
		trouble(w, http.StatusNotFound, err)
		return
	}
	tell(w, http.StatusOK, page)
}

func (c *Console) apiDecision(w http.ResponseWriter, r *http.Request) {
	a, ok := c.house.Decision(r.Context(), strings.ToUpper(r.PathValue("id")))
	if !ok {
		trouble(w, http.StatusNotFound, errors.New("this decision is not among those that are kept; look for it in the decision log"))
		return
	}
	tell(w, http.StatusOK, a.Account)
}

func (c *Console) apiExplain(w http.ResponseWriter, r *http.Request) {
	a, err := c.house.Ask(r.URL.Query().Get("client"), r.URL.Query().Get("target"))
	if err != nil {
		trouble(w, http.StatusBadRequest, err)
		return
	}
	tell(w, http.StatusOK, a.Account)
}

func (c *Console) apiRules(w http.ResponseWriter, _ *http.Request) {
	tell(w, http.StatusOK, c.house.Rules())
}

// apiApply puts the rules file that is the request's body on trial.
func (c *Console) apiApply(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		trouble(w, http.StatusRequestEntityTooLarge, err)
		return
	}
	d := c.house.Check(text)
	if !d.Loadable {
		tell(w, http.StatusUnprocessableEntity, map[string]any{"error": "the file cannot be loaded", "problems": d.Problems})
		return
	}
	trial, err := c.house.Apply(Asker(r), r.URL.Query().Get("base"), text)
	if err != nil {
		trouble(w, conflict(err), err)
		return
	}
	tell(w, http.StatusOK, trial)
}

// ending ends the trial of a draft one way or the other.
func ending(end func(by, draft string) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := end(Asker(r), r.URL.Query().Get("sha256")); err != nil {
			trouble(w, conflict(err), err)
			return
		}
		tell(w, http.StatusOK, map[string]bool{"done": true})
	}
}

func (c *Console) apiConfirm(w http.ResponseWriter, r *http.Request) { ending(c.house.Confirm)(w, r) }
func (c *Console) apiRevert(w http.ResponseWriter, r *http.Request)  { ending(c.house.Revert)(w, r) }

// apiCheck checks the rules file that is the request's body.
func (c *Console) apiCheck(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		trouble(w, http.StatusRequestEntityTooLarge, err)
		return
	}
	tell(w, http.StatusOK, c.house.Check(text))
}

func (c *Console) apiDoctor(w http.ResponseWriter, r *http.Request) {
	patience(w)
	e, err := c.house.Examine(r.Context(), r.URL.Query().Get("pack"), r.URL.Query().Get("active") == "true")
	if err != nil {
		trouble(w, http.StatusNotFound, err)
		return
	}
	tell(w, http.StatusOK, e.Report)
}
