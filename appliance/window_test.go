package appliance

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/appliance/console"
	"gatehouse/internal/nettest"
)

// browser keeps no connection: the next site of these tests may have the port of
// one that has ended.
var browser = http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: nettest.Patience}

// post sends a form to the admin listener as a browser does.
func (s *site) post(path string, form url.Values) (status int, body string) {
	s.t.Helper()
	resp, err := browser.PostForm("http://"+s.address("admin")+path, form)
	require.NoError(s.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(s.t, err)
	return resp.StatusCode, string(text)
}

// json asks the JSON interface.
func (s *site) json(path string, into any) {
	s.t.Helper()
	status, body := s.admin("GET", path)
	require.Equal(s.t, 200, status, body)
	require.NoError(s.t, json.Unmarshal([]byte(body), into))
}

// decided waits until n passages of a surface have been written down, which is
// after the client has its answer.
func (s *site) decided(surface string, n int) {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		var got struct{ Decisions []struct{} }
		s.json("/api/v1/decisions?surface="+surface, &got)
		return len(got.Decisions) == n
	}, 30*time.Second, 5*time.Millisecond)
}

func TestTheConsoleTellsWhatWasDecidedAndWhy(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	status, _ := s.get("/update.inf")
	require.Equal(t, 200, status)
	status, _ = s.get("/html.inf")
	require.Equal(t, 403, status)
	s.decided("http", 2)

	var got struct {
		Decisions []struct{ ID, Passage, Verdict, Reason, Why, Rule string }
	}
	s.json("/api/v1/decisions?verdict=denied&surface=http", &got)
	require.Len(t, got.Decisions, 1)
	d := got.Decisions[0]
	require.Equal(t, "type-not-listed", d.Reason)
	require.Equal(t, "updates", d.Rule)
	require.NotEmpty(t, d.Why)

	status, body := s.admin("GET", "/decisions?verdict=denied")
	require.Equal(t, 200, status)
	require.Contains(t, body, d.ID)
	require.NotContains(t, body, "/update.inf")
	status, body = s.admin("GET", "/decisions/"+strings.ToLower(d.ID))
	require.Equal(t, 200, status)
	require.Contains(t, body, "type-not-listed")
	require.Contains(t, body, "to permit it: add")
	status, body = s.admin("GET", "/decisions/GH-ZZZZZZZZ")
	require.Equal(t, 404, status)
	require.Contains(t, body, "decision log")

	s.json("/api/v1/decisions?host=nowhere", &got)
	require.Empty(t, got.Decisions)
	status, body = s.admin("GET", "/api/v1/decisions?n=0&host=nowhere")
	require.Equal(t, 200, status)
	require.Equal(t, `{"decisions":[]}`, strings.TrimSpace(body))
}

func TestAnOlderDecisionIsFoundInTheLog(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	s.configure("[log]\ndecisions = \"log/decisions.log\"\n")
	status, _ := s.get("/html.inf")
	require.Equal(t, 403, status)
	s.decided("http", 1)
	d := window{s.Appliance}.Decisions(t.Context(), console.Filter{Verdict: "denied", Surface: "http"}, 1)[0]
	s.stop()
	s.start() // nothing is in memory now
	a, err := NewControl(s.Config.State.Dir).Decision(t.Context(), d.ID)
	require.NoError(t, err)
	require.Equal(t, d.Passage, a.Passage)
	require.Equal(t, "type-not-listed", a.Reason)
	require.Equal(t, "updates", a.Rule)
	_, err = NewControl(s.Config.State.Dir).Decision(t.Context(), "GH-ZZZZZZZZ")
	require.ErrorContains(t, err, "nor in the decision log")
}

func TestTheConsoleAnswersAsExplainDoes(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	ask := url.Values{"client": {"127.0.0.1"}, "target": {"GET http://www.groupcall.test:" + s.port + "/a.inf -> text/html"}}
	var a Account
	s.json("/api/v1/explain?"+ask.Encode(), &a)
	require.Equal(t, "denied", a.Verdict)
	require.Equal(t, "type-not-listed", a.Reason)
	status, body := s.admin("GET", "/ask?"+ask.Encode())
	require.Equal(t, 200, status)
	require.Contains(t, body, "type-not-listed")

	ask.Set("target", "POST http://www.groupcall.test:"+s.port+"/a.inf")
	_, body = s.admin("GET", "/ask?"+ask.Encode())
	require.Contains(t, body, "What would permit it")
	require.Contains(t, body, "methods  = [&#34;GET&#34;, &#34;POST&#34;]", "the line of the file, ready to copy")

	status, body = s.admin("GET", "/ask?target=rubbish")
	require.Equal(t, 400, status)
	require.Contains(t, body, "CONNECT host:port")
	status, body = s.admin("GET", "/api/v1/explain?client=nobody&target="+url.QueryEscape("CONNECT a.example.org:443"))
	require.Equal(t, 400, status)
	require.Contains(t, body, `{"error":`)
}

func TestTheConsoleShowsPacksAndTheirLastPassages(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText+"[[pack]]\nname = \"xporter\"\n")
	s.query("xporter.groupcall.com.") // its DNS double knows no such name
	status, body := s.admin("GET", "/")
	require.Equal(t, 200, status)
	require.Contains(t, body, "<h2>xporter</h2>")
	var got struct {
		Packs []struct {
			Name         string
			Requirements []struct{ Rule, State, Because string }
		}
	}
	s.json("/api/v1/packs", &got)
	require.Equal(t, "xporter", got.Packs[0].Name)
	for _, r := range got.Packs[0].Requirements {
		require.Contains(t, []string{"quiet", "trouble"}, r.State, r.Rule)
		require.NotEmpty(t, r.Because)
	}
}

func TestADraftIsCheckedReplayedAndPutOnTrial(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	status, _ := s.get("/update.inf")
	require.Equal(t, 200, status)
	s.decided("http", 1)
	present := s.fill(rulesText)
	file := filepath.Join(s.dir, "rules.toml")

	status, body := s.post("/rules", url.Values{"do": {"check"}, "text": {"version = 1\n[[allow]]\nname = \"a<b>\"\n"}})
	require.Equal(t, 200, status)
	require.Contains(t, body, "It cannot be put in force.")
	require.NotContains(t, body, "a<b>", "what was sent is text, not markup")

	draft := strings.ReplaceAll(present, "www.groupcall.test", "www.example.org")
	status, body = s.post("/rules", url.Values{"do": {"check"}, "text": {strings.ReplaceAll(draft, "\n", "\r\n")}})
	require.Equal(t, 200, status)
	require.Contains(t, body, "It may be put in force.")
	require.Contains(t, body, "would be refused")
	require.Contains(t, body, "GET http://www.groupcall.test:"+s.port+"/update.inf")
	require.Contains(t, body, `value="apply"`)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, present, string(text), "a check changes nothing")

	status, body = s.post("/rules", url.Values{"do": {"apply"}, "text": {draft}})
	require.Equal(t, 200, status)
	require.Contains(t, body, "The draft is in force.")
	status, _ = s.get("/update.inf")
	require.Equal(t, 403, status)
	_, body = s.admin("GET", "/decisions")
	require.Contains(t, body, "New rules are on trial until")

	status, body = s.post("/rules", url.Values{"do": {"revert"}})
	require.Equal(t, 200, status)
	require.Contains(t, body, "The file of before is back in force.")
	status, _ = s.get("/update.inf")
	require.Equal(t, 200, status)
	status, body = s.post("/rules", url.Values{"do": {"confirm"}})
	require.Equal(t, 409, status)
	require.Contains(t, body, "no draft is on trial")
	require.Contains(t, s.said.String(), "the file of before is back")
}

func TestPagesOfStrangersChangeNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	for _, path := range []string{"/rules", "/health", "/api/v1/doctor", "/api/v1/check", "/-/reload"} {
		req, err := http.NewRequest("POST", "http://"+s.address("admin")+path, strings.NewReader("do=apply&text=x"))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Sec-Fetch-Site", "cross-site")
		resp, err := browser.Do(req)
		require.NoError(t, err)
		resp.Body.Close()
		require.Equal(t, 403, resp.StatusCode, path)
	}
}

func TestThePagesLoadNothingFromElsewhere(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	for _, path := range []string{"/", "/decisions", "/decisions?live=1", "/rules", "/ask", "/health", "/console.css", "/console.js"} {
		resp, err := browser.Get("http://" + s.address("admin") + path)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		require.NoError(t, err)
		require.Equal(t, 200, resp.StatusCode, path)
		require.Equal(t, "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'", resp.Header.Get("Content-Security-Policy"))
		require.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"))
		text := strings.ReplaceAll(string(body), `<script src="/console.js" defer></script>`, "")
		require.NotRegexp(t, `(?i)<script|style=|\son[a-z]+=|(src|href)="?(https?:)?//`, text, path)
	}
}
