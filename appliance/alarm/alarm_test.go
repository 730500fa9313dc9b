package alarm

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// post is a Sender that keeps what it is given, or fails.
type post struct {
	got  []Message
	fail error
}

func (*post) Name() string { return "post" }

func (p *post) Send(_ context.Context, m Message) error {
	if p.fail == nil {
		p.got = append(p.got, m)
	}
	return p.fail
}

// told takes what was sent since the last time, as "phase kind/subject".
func (p *post) told() (all []string) {
	for _, m := range p.got {
		for _, e := range m.Events {
			all = append(all, string(e.Phase)+" "+string(e.Kind)+"/"+e.Subject)
		}
	}
	p.got = nil
	return all
}

func bell(t *testing.T) (*Bell, *post, map[string]int) {
	p, counts := &post{}, map[string]int{}
	return New(Config{Gate: "gate", Repeat: 24 * time.Hour, Senders: []Sender{p}, Log: slog.New(slog.DiscardHandler),
		Count: func(k Kind, result string) { counts[string(k)+" "+result]++ }}), p, counts
}

var (
	disk    = Condition{Kind: DiskFull, Says: "The disk is full.", Fix: "free some"}
	refused = Condition{Kind: AgentRefused, Subject: "xporter/updates", Says: "It was refused."}
)

func TestAnAlarmIsToldOnceAndWhenItIsOver(t *testing.T) {
	b, p, counts := bell(t)
	for minute := range 30 {
		b.Ring(t.Context(), noon.Add(time.Duration(minute)*time.Minute), []Condition{disk})
	}
	require.Equal(t, []string{"begun disk-full/"}, p.told())
	b.Ring(t.Context(), noon.Add(30*time.Minute), nil)
	b.Ring(t.Context(), noon.Add(33*time.Minute), []Condition{disk})
	require.Empty(t, p.told(), "what is well for a moment is not over")
	b.Ring(t.Context(), noon.Add(38*time.Minute), nil)
	require.Equal(t, []string{"over disk-full/"}, p.told())
	require.Equal(t, map[string]int{"disk-full sent": 2}, counts)
}

func TestWhatLastsIsToldAgainAfterADay(t *testing.T) {
	b, p, _ := bell(t)
	for hour := range 49 {
		b.Ring(t.Context(), noon.Add(time.Duration(hour)*time.Hour), []Condition{disk})
	}
	require.Equal(t, []string{"begun disk-full/", "lasts disk-full/", "lasts disk-full/"}, p.told())
}

func TestWhatComesUpWithinTenMinutesGoesTogether(t *testing.T) {
	b, p, _ := bell(t)
	b.Ring(t.Context(), noon, []Condition{disk})
	b.Ring(t.Context(), noon.Add(time.Minute), []Condition{disk, refused})
	b.Ring(t.Context(), noon.Add(2*time.Minute), []Condition{disk, refused, {Kind: AzureOld}})
	require.Equal(t, []string{"begun disk-full/"}, p.told())
	b.Ring(t.Context(), noon.Add(10*time.Minute), []Condition{disk, refused, {Kind: AzureOld}})
	require.Len(t, p.got, 1)
	require.Equal(t, []string{"begun agent-refused/xporter/updates", "begun azure-old/"}, p.told())
}

func TestWhatCouldNotBeSentIsTriedAgainLessAndLessOften(t *testing.T) {
	b, p, counts := bell(t)
	p.fail = errors.New("no route")
	for minute := range 60 {
		b.Ring(t.Context(), noon.Add(time.Duration(minute)*time.Minute), []Condition{disk})
	}
	require.Equal(t, map[string]int{"disk-full failed": 6}, counts) // after 0, 1, 3, 7, 15 and 31 minutes
	p.fail = nil
	b.Ring(t.Context(), noon.Add(2*time.Hour), []Condition{disk})
	require.Equal(t, []string{"begun disk-full/"}, p.told())
}

func TestWhatIsOwedIsBounded(t *testing.T) {
	b, p, counts := bell(t)
	p.fail = errors.New("no route")
	many := make([]Condition, mostPending+5)
	for i := range many {
		many[i] = Condition{Kind: AgentRefused, Subject: string(rune('A' + i))}
	}
	b.Ring(t.Context(), noon, many)
	require.Equal(t, 5, counts["agent-refused dropped"])
	require.Len(t, b.owed[0].events, mostPending)
}

func message() Message {
	return Message{Gate: "gate", At: noon, Events: []Event{{Kind: DiskFull, Phase: Begun, Since: noon, Says: "The disk is full.", Fix: "free some"},
		{Kind: AgentRefused, Subject: "xporter/updates", Phase: Over, Since: noon, Says: "It was refused."}}}
}

func TestAMessageInWords(t *testing.T) {
	require.Equal(t, "gatehouse gate: disk-full and 1 more", message().Subject())
	require.Equal(t, `The disk is full.
What to do: free some

OVER, since Wed, 04 Mar 2026 12:00:00 +0000 it was so: It was refused.

-- 
gatehouse on gate, Wed, 04 Mar 2026 12:00:00 +0000. It tells again of what lasts, and when it is over.
`, message().Text())
}

func TestAWebhookGetsJSONAndItsPathIsNotTold(t *testing.T) {
	status := http.StatusNoContent
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m Message
		require.Equal(t, "/secret", r.URL.Path)
		require.Equal(t, "application/json", r.Header.Get("Content-Type"))
		require.NoError(t, json.NewDecoder(r.Body).Decode(&m))
		require.Equal(t, message(), m)
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
	}))
	defer s.Close()
	transport := &http.Transport{DisableKeepAlives: true}
	w := Webhook{URL: s.URL + "/secret", HTTP: transport}
	require.NoError(t, w.Send(t.Context(), message()))
	for _, status = range []int{302, 404, 500} {
		err := w.Send(t.Context(), message())
		require.ErrorContains(t, err, "status ")
		require.NotContains(t, err.Error(), "secret")
	}
	s.Close()
	err := w.Send(t.Context(), message())
	require.Error(t, err)
	require.NotContains(t, err.Error(), "secret")
}
