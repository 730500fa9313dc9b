package appliance

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/appliance/alarm"
	"gatehouse/internal/flow"
	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

func TestAnAlarmIsAnOwnPassageOfTheGate(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	well, words, err := NewControl(s.Config.State.Dir).TryAlarms(t.Context())
	require.NoError(t, err)
	require.False(t, well)
	require.Contains(t, words, "nobody is told of anything")

	got := make(chan string, 4)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		got <- string(text)
	}))
	t.Cleanup(hook.Close)
	s.configure("[alarm]\nwebhook = \"" + hook.URL + "/secret\"\n")
	well, words, err = NewControl(s.Config.State.Dir).TryAlarms(t.Context())
	require.NoError(t, err)
	require.True(t, well, words)
	require.Equal(t, "webhook: sent\n", words)
	require.Contains(t, <-got, `"kind":"test"`)
	require.Eventually(t, func() bool {
		for _, r := range s.ring.Recent(10) {
			if r.Verdict.RuleName() == "gatehouse/alarm-webhook" {
				return r.Surface == policy.CONNECT && r.Verdict.Allowed() && r.Sent > 0
			}
		}
		return false
	}, 20*time.Second, 10*time.Millisecond)
	_, text := s.admin("GET", "/metrics")
	require.Contains(t, text, `gatehouse_alarms_total{kind="test",result="sent"} 1`)
	require.NotContains(t, s.said.String(), "secret")
	require.NotContains(t, s.Config.Alarm.Webhook.String(), "secret")
}

func TestAnAlarmNeverLeadsToTheGatesOwnDoors(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	dest, err := destOf(s.address("admin"))
	require.NoError(t, err)
	_, err = s.ownPassage("gatehouse/alarm-webhook", "alarm.webhook", dest, policy.PlainHTTP).connect(t.Context(), "tcp", s.address("admin"))
	require.ErrorContains(t, err, "the gate's own listeners")
}

func TestWhatIsWrongIsToldOf(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	kinds := func() (all []string) {
		for _, c := range s.wrong() {
			require.NotEmpty(t, c.Says)
			all = append(all, string(c.Kind)+" "+c.Subject)
		}
		return all
	}
	require.Equal(t, []string{"azure-old "}, kinds(), "the built-in list is old")
	s.troubles.Record(&flow.Record{ID: "GH-1", Time: s.now(), Host: "www.example.org", Port: 22, Surface: policy.CONNECT,
		Verdict: policy.Verdict{Reason: policy.PortNotListed, Rule: &policy.Rule{Name: "xporter/updates", Pack: "xporter"}}})
	s.troubles.Record(&flow.Record{ID: "GH-2", Time: s.now(), Verdict: policy.Verdict{Reason: policy.HostNotListed}})
	s.troubles.packTried("xporter", false)
	require.Equal(t, []string{"agent-refused xporter/updates", "pack-not-ready xporter", "azure-old "}, kinds())
	s.troubles.packTried("xporter", true)
	s.ahead.Store(int64(lingers))
	require.Equal(t, []string{"azure-old "}, kinds())
}

func TestAWayOutThatFailsIsToldOfWhenItLasts(t *testing.T) {
	t.Parallel()
	s := newSite(t, rulesText)
	told := func() (kinds []alarm.Kind) {
		for _, c := range s.wrong() {
			kinds = append(kinds, c.Kind)
		}
		return kinds
	}
	require.NotContains(t, told(), alarm.DNSSilent, "nothing was asked yet")
	for kind, config := range map[alarm.Kind]string{ // nobody is there
		alarm.DNSSilent:   fmt.Sprintf(siteConfig, "127.0.0.1:1"),
		alarm.ParentsFail: fmt.Sprintf(siteConfig, s.dns.Addr) + "[[upstream]]\nname = \"county\"\nurl = \"http://127.0.0.1:1\"\n",
	} {
		require.NoError(t, s.stop())
		write(t, filepath.Join(s.dir, "gatehouse.toml"), config)
		s.start()
		require.Eventually(t, func() bool { // what failed is forgiven after some seconds
			s.get("/update.inf")
			once := slices.Contains(told(), kind)
			return once || slices.Contains(told(), kind)
		}, nettest.Patience, 10*time.Millisecond, kind)
	}
	s.troubles.fails(alarm.DNSSilent, false)
	require.False(t, s.troubles.fails(alarm.DNSSilent, true), "a single look says nothing")
	require.True(t, s.troubles.fails(alarm.DNSSilent, true))
	require.False(t, s.troubles.fails(alarm.DNSSilent, false))
	require.False(t, s.troubles.fails(alarm.DNSSilent, true), "a single look says nothing")
	require.True(t, s.troubles.fails(alarm.DNSSilent, true))
}

func TestASettingOfTheAlarmThatCannotBeIsToldWithTheSetting(t *testing.T) {
	for text, says := range map[string]string{
		"webhook = \"ftp://secret\"":      "webhook is no address to POST to",
		"mail_to = \"nobody\"":            "is no mail address",
		"mail_to = \"a@b.test\"":          "mail needs an address that it comes from",
		"mail_server = \"post.test:587\"": "nobody is named to send mail to",
		"mail_tls = \"ssl\"":              "none of the values",
		"mail_to = \"a@b.test\"\nmail_from = \"g@b.test\"\nmail_server = \"post.test\"":                                                                        "names no host and port",
		"mail_to = \"a@b.test\"\nmail_from = \"g@b.test\"\nmail_server = \"post.test:25\"\nmail_user = \"g\"":                                                  "mail_password_file",
		"mail_to = \"a@b.test\"\nmail_from = \"g@b.test\"\nmail_server = \"post.test:25\"\nmail_user = \"g\"\nmail_password_file = \"p\"\nmail_tls = \"none\"": "without TLS",
	} {
		_, problems := ParseConfig("gatehouse.toml", []byte("[alarm]\n"+text+"\n"))
		require.NotEmpty(t, problems, text)
		all := ""
		for _, p := range problems {
			all += p.Message
		}
		require.Contains(t, all, says)
	}
}

func TestEveryKindOfAlarmIsDocumented(t *testing.T) {
	for page, form := range map[string]string{"../docs/troubleshooting.md": "| `%s` | ", "../docs/operations.md": "`%s`"} {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, kind := range alarm.Kinds() {
			if kind != alarm.Test || page != "../docs/operations.md" {
				require.Contains(t, string(text), fmt.Sprintf(form, kind), page)
			}
		}
	}
}
