package alarm

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
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

// postOffice is an SMTP server for one mail (RFC 5321), with STARTTLS (RFC 3207)
// where secure is set, and gives what it was told, line by line.
func postOffice(t *testing.T, config *tls.Config, starttls bool) (addr string, heard chan []string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	heard = make(chan []string, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer func() { conn.Close() }()
		var said []string
		defer func() { heard <- said }()
		if config != nil && !starttls {
			conn = tls.Server(conn, config)
		}
		in := bufio.NewReader(conn)
		say := func(s string) { io.WriteString(conn, s+"\r\n") }
		say("220 post.test")
		for content := false; ; {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			line = strings.TrimRight(line, "\r\n")
			said = append(said, line)
			verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
			switch {
			case content && line == ".":
				content = false
				say("250 taken")
			case content:
			case verb == "EHLO" && starttls && config != nil:
				say("250-post.test\r\n250-STARTTLS\r\n250 8BITMIME")
			case verb == "EHLO":
				say("250-post.test\r\n250-AUTH PLAIN LOGIN\r\n250 8BITMIME")
			case verb == "STARTTLS":
				say("220 go on")
				conn = tls.Server(conn, config)
				in, config = bufio.NewReader(conn), nil
			case verb == "AUTH":
				say("235 welcome")
			case verb == "DATA":
				content = true
				say("354 go on")
			case verb == "QUIT":
				say("221 bye")
				return
			default:
				say("250 well")
			}
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return ln.Addr().String(), heard
}

func letter(t *testing.T, addr, how string, roots *nettest.Authority) Mail {
	password := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(password, []byte("sesame\r\n"), 0o600))
	m := Mail{Host: "post.test", Port: 25, TLS: how, From: "gatehouse@school.test", To: []string{"it@school.test", "head@school.test"}, User: "gate", PasswordFile: password,
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		}}
	m.Config = &tls.Config{ServerName: "post.test", RootCAs: roots.Roots, MinVersion: tls.VersionTLS12}
	return m
}

func TestAMailIsSentByTLSAfterALogin(t *testing.T) {
	authority := nettest.NewAuthority(t, "post")
	config := &tls.Config{Certificates: []tls.Certificate{authority.Sign(t, nil, "post.test")}}
	for _, how := range []string{"starttls", "tls"} {
		t.Run(how, func(t *testing.T) {
			addr, heard := postOffice(t, config, how == "starttls")
			require.NoError(t, letter(t, addr, how, authority).Send(t.Context(), message()))
			said := strings.Join(<-heard, "\n")
			require.Contains(t, said, "AUTH PLAIN AGdhdGUAc2VzYW1l") // \0gate\0sesame
			require.Contains(t, said, "MAIL FROM:<gatehouse@school.test>")
			require.Contains(t, said, "RCPT TO:<it@school.test>\nRCPT TO:<head@school.test>")
			require.Contains(t, said, "Subject: gatehouse gate: disk-full and 1 more")
			require.Contains(t, said, "Auto-Submitted: auto-generated")
			require.Contains(t, said, "The disk is full.")
		})
	}
}

func TestAPasswordIsNotSentWithoutTLS(t *testing.T) {
	authority := nettest.NewAuthority(t, "post")
	addr, heard := postOffice(t, nil, true) // it offers no STARTTLS
	err := letter(t, addr, "starttls", authority).Send(t.Context(), message())
	require.Error(t, err)
	require.NotContains(t, err.Error(), "sesame")
	require.NotContains(t, strings.Join(<-heard, "\n"), "AUTH")
}

func TestAMailServerThatNobodyVouchesForGetsNothing(t *testing.T) {
	authority := nettest.NewAuthority(t, "post")
	addr, heard := postOffice(t, &tls.Config{Certificates: []tls.Certificate{nettest.SelfSigned(t, nil, "post.test")}}, true)
	require.Error(t, letter(t, addr, "starttls", authority).Send(t.Context(), message()))
	require.NotContains(t, strings.Join(<-heard, "\n"), "MAIL FROM")
}

func TestALoginWithoutItsPasswordIsTold(t *testing.T) {
	m := letter(t, "", "starttls", nettest.NewAuthority(t, "post"))
	m.PasswordFile = filepath.Join(t.TempDir(), "missing")
	require.ErrorContains(t, m.Send(t.Context(), message()), "alarm.mail_password_file")
}
