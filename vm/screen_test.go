package vm

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/crypto/bcrypt"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// typist sits at a screen: it types once it has read what it waits for.
type typist struct {
	t    *testing.T
	read *bufio.Reader
	keys *io.PipeWriter
	done chan error
	seen strings.Builder
}

func sit(t *testing.T, m *Machine, shell func(context.Context) error) *typist {
	t.Helper()
	in, keys := io.Pipe()
	out, show := io.Pipe()
	ticks := make(chan time.Time)
	s := &Screen{Machine: m, In: in, Out: show, Ticks: ticks, Hush: func() func() { return func() {} }, Shell: shell}
	p := &typist{t: t, read: bufio.NewReader(out), keys: keys, done: make(chan error, 1)}
	go func() {
		err := s.Run(t.Context())
		show.Close()
		p.done <- err
	}()
	return p
}

// sees reads until the screen has shown the words.
func (p *typist) sees(words string) {
	p.t.Helper()
	p.seen.Reset()
	for !strings.HasSuffix(p.seen.String(), words) {
		r, _, err := p.read.ReadRune()
		require.NoError(p.t, err, "waiting for %q the screen ended after:\n%s", words, p.seen.String())
		p.seen.WriteRune(r)
	}
}

func (p *typist) types(line string) {
	p.t.Helper()
	_, err := io.WriteString(p.keys, line+"\n")
	require.NoError(p.t, err)
}

// leaves takes the terminal away; what is still shown is read.
func (p *typist) leaves() {
	p.t.Helper()
	p.keys.Close()
	_, _ = io.Copy(io.Discard, p.read)
	require.ErrorIs(p.t, <-p.done, errGone)
}

func TestTheFirstStartAsksForAddressClockAndPassword(t *testing.T) {
	b := newBench(t)
	require.NoError(t, b.Apply(t.Context()))
	p := sit(t, b.Machine, nil)
	p.sees("Press Enter to begin.\n")
	for _, turn := range []struct{ question, answer string }{
		{"", ""},
		{"or dhcp [dhcp]: ", "10.20.0.1"},
		{"or dhcp [dhcp]: ", "10.20.0.1/24"},
		{"Router [none]: ", "10.30.0.1"},
		{"Router [none]: ", "10.20.0.254"},
		{"spaces between [none]: ", "10.20.0.10, 10.20.0.11"},
		{"Name of this machine [gatehouse]: ", "gate.school.example"},
		{"Time zone [Europe/London]: ", "Mars"},
		{"Time zone [Europe/London]: ", ""},
		{"spaces between [default]: ", "10.20.0.10"},
		{"at least 10 characters: ", "short"},
		{"at least 10 characters: ", "correct horse battery"},
		{"Once more: ", "correct horse batterie"},
		{"at least 10 characters: ", "correct horse battery"},
		{"Once more: ", "correct horse battery"},
	} {
		p.sees(turn.question)
		p.types(turn.answer)
	}
	p.sees("put in force now.\n")
	p.sees("Press Enter for the menu.\n")
	p.leaves()

	s, told, err := loadSettings(b.Settings)
	require.NoError(t, err)
	require.True(t, told)
	require.NoError(t, bcrypt.CompareHashAndPassword([]byte(s.Login), []byte("correct horse battery")))
	require.Equal(t, "gate.school.example", s.Hostname)
	require.Equal(t, "Europe/London", s.TimeZone)
	require.Equal(t, []string{"10.20.0.10"}, s.NTP)
	require.Equal(t, "[Match]\nName=eth0\n\n[Network]\nAddress=10.20.0.1/24\nGateway=10.20.0.254\nDNS=10.20.0.10\nDNS=10.20.0.11\nLLMNR=no\nMulticastDNS=no\n",
		networkFile("eth0", s.Adapters["eth0"]))
	require.Contains(t, b.runs, "systemctl restart gatehouse-vm.service systemd-timesyncd.service")
}

func TestTheMenuChangesOneThingAndKeepsTheRest(t *testing.T) {
	b := newBench(t)
	s := unset()
	var err error
	s.Login, err = hashPassword("correct horse battery")
	require.NoError(t, err)
	require.NoError(t, s.save(b.Settings))
	require.NoError(t, b.Apply(t.Context()))
	shells := 0
	p := sit(t, b.Machine, func(context.Context) error { shells++; return nil })
	for _, turn := range []struct{ sees, types string }{
		{"Press Enter for the menu.\n", ""}, {"> ", "3"}, {"Time zone [Europe/London]: ", "Europe/Dublin"}, {"[default]: ", ""},
		{"Press Enter for the menu.\n", ""}, {"> ", "4"},
		{"Press Enter for the menu.\n", ""}, {"> ", "6"},
	} {
		p.sees(turn.sees)
		p.types(turn.types)
	}
	p.sees("Press Enter for the menu.\n")
	p.leaves()
	after, _, err := loadSettings(b.Settings)
	require.NoError(t, err)
	s.TimeZone = "Europe/Dublin"
	require.Equal(t, s, after)
	require.Equal(t, 1, shells)
	require.Contains(t, b.runs, "systemctl poweroff")
}

func TestTheStatusFitsAScreenAndTellsOfTheRealUnit(t *testing.T) {
	b := newBench(t)
	b.sow(t, "netplan")
	require.NoError(t, b.Apply(t.Context()))
	text := b.status(t.Context()).String()
	require.Contains(t, text, "console     https://10.20.0.1:9080/ (user admin)\n")
	require.Contains(t, text, "gate        active; it answers\n")
	require.Contains(t, text, "firewall    loaded\n")
	require.Contains(t, text, "clock       2026-03-01 12:00 GMT, not yet set by a time server\n")
	for _, line := range strings.Split(text, "\n") {
		require.LessOrEqual(t, len(line), 80, line)
	}
	b.fail["gatehouse healthcheck"] = errors.New("no answer")
	b.fail["nft list"] = errors.New("no such table")
	text = b.status(t.Context()).String()
	require.Contains(t, text, "gate        active; it does not answer\n")
	require.Contains(t, text, "firewall    not loaded\n")
}
