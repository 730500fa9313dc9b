package appliance

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/appliance/console"
	"gatehouse/appliance/journal"
)

// versions waits until the history has n of them: what an editor writes is taken
// once it has settled.
func (s *site) versions(n int) []console.Version {
	s.t.Helper()
	var got struct{ Versions []console.Version }
	require.Eventually(s.t, func() bool {
		s.json("/api/v1/history", &got)
		return len(got.Versions) >= n
	}, time.Minute, 20*time.Millisecond)
	require.Len(s.t, got.Versions, n)
	return got.Versions
}

func (s *site) trail() []console.Change {
	s.t.Helper()
	var got struct{ Changes []console.Change }
	s.json("/api/v1/changes", &got)
	return got.Changes
}

const noMethods = `types    = { "*.inf" = "text/plain" , "*" = "any" }`

func TestWhatAnEditorWroteIsInTheHistoryAndCanBeReturnedTo(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	first := s.versions(1)[0]
	require.Equal(t, journal.Start, first.What)
	require.True(t, first.InForce)

	s.setRules(strings.ReplaceAll(rulesText, noMethods, ""))
	list := s.versions(2)
	require.Equal(t, journal.Edit, list[0].What)
	require.Equal(t, outside.by, list[0].By)
	require.True(t, list[0].InForce)
	require.False(t, list[1].InForce)
	require.Contains(t, strings.Join(list[0].Words, "\n"), "updates")

	var got struct{ Lines []console.Line }
	s.json("/api/v1/compare?from="+list[1].SHA256+"&to="+list[0].SHA256, &got)
	require.Contains(t, got.Lines, console.Line{Sort: "removed", Before: 13, Text: noMethods})
	status, body := s.admin("GET", "/history/compare?from="+list[1].SHA256+"&to="+list[0].SHA256)
	require.Equal(t, 200, status)
	require.Contains(t, body, `class="removed"`)

	var present console.Rules
	s.json("/api/v1/rules", &present)
	status, body = s.post("/history", url.Values{"sha256": {first.SHA256}, "base": {present.Base}})
	require.Equal(t, 200, status)
	require.Contains(t, body, "The draft is in force.")
	text, err := os.ReadFile(filepath.Join(s.dir, "rules.toml"))
	require.NoError(t, err)
	require.Equal(t, s.fill(rulesText), string(text))
	require.Equal(t, journal.Apply, s.versions(3)[0].What)

	status, _ = s.post("/rules", url.Values{"do": {"revert"}, "trial": {first.SHA256}})
	require.Equal(t, 200, status, "it was on trial like any other draft")
	require.Equal(t, list[0].SHA256, s.versions(4)[0].SHA256)
	require.Equal(t, journal.Revert, s.versions(4)[0].What)

	status, body = s.post("/history", url.Values{"sha256": {first.SHA256}, "base": {first.SHA256}})
	require.Equal(t, 409, status, "the page was of an older file")
	require.Contains(t, body, "has changed since")
	status, _ = s.post("/history", url.Values{"sha256": {"../rules"}})
	require.Equal(t, 404, status)
}

func TestWhatWasChangedWhileNothingRanIsInTheHistory(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	require.NoError(t, s.stop())
	s.start()
	require.Len(t, s.versions(1), 1, "a restart is no change")
	require.NoError(t, s.stop())
	s.setRules(strings.ReplaceAll(rulesText, noMethods, ""))
	s.start()
	require.Equal(t, journal.Start, s.versions(2)[0].What)
}

func TestAFileThatWasRefusedIsInTheTrailAndNotInTheHistory(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	s.setRules("version = 1\nrubbish\n")
	require.Eventually(t, func() bool { return len(s.trail()) == 2 }, time.Minute, 20*time.Millisecond)
	c := s.trail()[0]
	require.False(t, c.Done)
	require.Equal(t, journal.Edit, c.What)
	require.Contains(t, c.Words[0], "rules.toml:2:")
	require.Len(t, s.versions(1), 1)
	_, body := s.admin("GET", "/changes")
	require.Contains(t, body, "refused")
}

func TestADamagedHistoryStopsNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	folder := filepath.Join(s.dir, "state", "history")
	require.NoError(t, os.RemoveAll(folder))
	write(t, folder, "a file where the folder should be")
	s.setRules(strings.ReplaceAll(rulesText, "www.groupcall.test", "www.example.org"))
	require.True(t, s.rulebook.Reload(outside, true).Taken)
	status, _ := s.get("/update.inf")
	require.Equal(t, 403, status, "the new rules are in force")
	for _, path := range []string{"/history", "/changes", "/rules", "/api/v1/history", "/api/v1/changes"} {
		status, _ := s.admin("GET", path)
		require.Equal(t, 200, status, path)
	}
	require.Contains(t, s.said.String(), "will not be found in the history")
	require.Contains(t, s.said.String(), "not in the audit trail")
	require.NoError(t, s.stop())
	s.start()
	status, _ = s.get("/update.inf")
	require.Equal(t, 403, status)
}

func TestTheTrailSaysWhoAsked(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	taken, _, err := NewControl(s.Config.State.Dir).Reload(t.Context(), false)
	require.NoError(t, err)
	require.True(t, taken)
	require.Equal(t, localUser(os.Getuid()), s.trail()[0].By)

	req, err := http.NewRequest("POST", "http://"+s.address("admin")+"/-/reload", nil)
	require.NoError(t, err)
	req.SetBasicAuth("head", "anything")
	resp, err := browser.Do(req)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, 200, resp.StatusCode)
	require.Regexp(t, `^127\.0\.0\.1:\d+$`, s.trail()[0].By, "a name that nobody checked is no name")
	require.Equal(t, journal.Reload, s.trail()[0].What)
}

func TestTheJSONInterfacePutsADraftOnTrial(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	send := func(path, body string) int {
		resp, err := browser.Post("http://"+s.address("admin")+path, "application/toml", strings.NewReader(body))
		require.NoError(t, err)
		resp.Body.Close()
		return resp.StatusCode
	}
	draft := strings.ReplaceAll(s.fill(rulesText), "www.groupcall.test", "www.example.org")
	require.Equal(t, 422, send("/api/v1/apply", "rubbish"))
	require.Equal(t, 409, send("/api/v1/apply?base="+journal.Digest(nil), draft), "made from another file")
	require.Equal(t, 200, send("/api/v1/apply?base="+journal.Digest([]byte(s.fill(rulesText))), draft))
	require.Equal(t, 409, send("/api/v1/confirm?sha256="+journal.Digest(nil), ""), "another draft is meant")
	require.Equal(t, 200, send("/api/v1/confirm?sha256="+journal.Digest([]byte(draft)), ""))
	require.Equal(t, 409, send("/api/v1/revert", ""), "it is over")
	require.Equal(t, 200, send("/api/v1/apply", s.fill(rulesText)))
	require.Equal(t, 200, send("/api/v1/revert", ""))
	var did []string
	for _, c := range s.trail() {
		did = append(did, c.What)
	}
	require.Equal(t, []string{journal.Revert, journal.Apply, journal.Confirm, journal.Apply, journal.Start}, did)
}
