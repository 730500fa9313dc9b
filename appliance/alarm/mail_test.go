package alarm

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
)

// postOffice is an SMTP server for one mail (RFC 5321), with STARTTLS (RFC 3207)
// where secure is set, and gives what it was told, line by line.
// It offers the logins, and is silent after its greeting where there is no word of
// them.
func postOffice(t *testing.T, config *tls.Config, starttls bool, logins string) (addr string, heard chan []string) {
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
		for content, taken := false, false; ; {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			line = strings.TrimRight(line, "\r\n")
			said = append(said, line)
			verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
			switch {
			case content && line == ".":
				content, taken = false, true
				say("250 taken")
			case content:
			case verb == "EHLO" && starttls && config != nil:
				say("250-post.test\r\n250-STARTTLS\r\n250 8BITMIME")
			case verb == "EHLO" && logins != "":
				say("250-post.test\r\n250-AUTH " + logins + "\r\n250 8BITMIME")
			case verb == "EHLO":
			case line == "AUTH LOGIN":
				say("334 VXNlcm5hbWU6") // Username:
			case line == "Z2F0ZQ==": // gate
				say("334 UGFzc3dvcmQ6") // Password:
			case line == "c2VzYW1l": // sesame
				say("235 welcome")
			case strings.HasPrefix(line, "RCPT TO:<nobody@"):
				say("550 no such mailbox")
			case verb == "STARTTLS":
				say("220 go on")
				conn = tls.Server(conn, config)
				in, config = bufio.NewReader(conn), nil
			case verb == "AUTH":
				say("235 welcome")
			case verb == "DATA":
				content = true
				say("354 go on")
			case verb == "QUIT" && taken: // it is silent, until the gate goes
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

func mailTo(t *testing.T, addr, how string, roots *nettest.Authority) Mail {
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
			addr, heard := postOffice(t, config, how == "starttls", "PLAIN LOGIN")
			require.NoError(t, mailTo(t, addr, how, authority).Send(t.Context(), message()))
			said := strings.Join(<-heard, "\n")
			require.Contains(t, said, "AUTH PLAIN AGdhdGUAc2VzYW1l") // \0gate\0sesame
			require.Contains(t, said, "MAIL FROM:<gatehouse@school.test>")
			require.Contains(t, said, "RCPT TO:<it@school.test>\nRCPT TO:<head@school.test>")
			requireLetter(t, said)
		})
	}
}

func TestAPasswordIsNotSentWithoutTLS(t *testing.T) {
	authority := nettest.NewAuthority(t, "post")
	addr, heard := postOffice(t, nil, true, "PLAIN") // it offers no STARTTLS
	err := mailTo(t, addr, "starttls", authority).Send(t.Context(), message())
	require.ErrorContains(t, err, "it offers no STARTTLS")
	require.NotContains(t, err.Error(), "sesame")
	require.NotContains(t, strings.Join(<-heard, "\n"), "AUTH")
}

func TestAMailServerThatNobodyVouchesForGetsNothing(t *testing.T) {
	authority := nettest.NewAuthority(t, "post")
	addr, heard := postOffice(t, &tls.Config{Certificates: []tls.Certificate{nettest.SelfSigned(t, nil, "post.test")}}, true, "PLAIN")
	require.Error(t, mailTo(t, addr, "starttls", authority).Send(t.Context(), message()))
	require.NotContains(t, strings.Join(<-heard, "\n"), "MAIL FROM")
}

func TestALoginWithoutItsPasswordIsTold(t *testing.T) {
	m := mailTo(t, "", "starttls", nettest.NewAuthority(t, "post"))
	m.PasswordFile = filepath.Join(t.TempDir(), "missing")
	require.ErrorContains(t, m.Send(t.Context(), message()), "alarm.mail_password_file")
}

// requireLetter reads the letter as any mail program would.
func requireLetter(t *testing.T, said string) {
	_, data, found := strings.Cut(said, "\nDATA\n")
	require.True(t, found)
	data, _, found = strings.Cut(data, "\n.\n")
	require.True(t, found)
	read, err := mail.ReadMessage(strings.NewReader(data))
	require.NoError(t, err)
	require.Equal(t, "gatehouse gate: disk-full and 1 more", read.Header.Get("Subject"))
	require.Equal(t, "auto-generated", read.Header.Get("Auto-Submitted"))
	to, err := read.Header.AddressList("To")
	require.NoError(t, err)
	require.Len(t, to, 2)
	at, err := read.Header.Date()
	require.NoError(t, err)
	require.True(t, at.Equal(message().At.Truncate(time.Second)))
	require.Regexp(t, `^<[A-Z2-7]+@school\.test>$`, read.Header.Get("Message-ID"))
	text, err := io.ReadAll(quotedprintable.NewReader(read.Body))
	require.NoError(t, err)
	require.Equal(t, message().Text(), string(text)+"\n") // the last line's end was cut off with the dot
}

func TestAServerThatKnowsLoginOnlyIsLoggedInTo(t *testing.T) {
	authority := nettest.NewAuthority(t, "post")
	config := &tls.Config{Certificates: []tls.Certificate{authority.Sign(t, nil, "post.test")}}
	addr, heard := postOffice(t, config, false, "LOGIN XOAUTH2")
	require.NoError(t, mailTo(t, addr, "tls", authority).Send(t.Context(), message()))
	said := strings.Join(<-heard, "\n")
	require.Contains(t, said, "AUTH LOGIN\nZ2F0ZQ==\nc2VzYW1l\n")
	requireLetter(t, said)
}

func TestALoginTheGateDoesNotKnowIsNamed(t *testing.T) {
	authority := nettest.NewAuthority(t, "post")
	config := &tls.Config{Certificates: []tls.Certificate{authority.Sign(t, nil, "post.test")}}
	addr, heard := postOffice(t, config, false, "XOAUTH2")
	err := mailTo(t, addr, "tls", authority).Send(t.Context(), message())
	require.ErrorContains(t, err, `neither PLAIN nor LOGIN, but ["XOAUTH2"]`)
	require.NotContains(t, strings.Join(<-heard, "\n"), "AUTH")
}

func TestAMailboxThatIsNotThereIsNamed(t *testing.T) {
	authority := nettest.NewAuthority(t, "post")
	addr, heard := postOffice(t, nil, false, "PLAIN")
	m := mailTo(t, addr, "none", authority)
	m.User, m.To = "", []string{"nobody@school.test"}
	require.ErrorContains(t, m.Send(t.Context(), message()), "nobody@school.test: 550")
	require.NotContains(t, strings.Join(<-heard, "\n"), "DATA")
}

func TestASilentMailServerIsLeftWhenTheTimeIsOver(t *testing.T) {
	authority := nettest.NewAuthority(t, "post")
	addr, heard := postOffice(t, nil, false, "")
	m := mailTo(t, addr, "none", authority)
	ctx, cancel := context.WithCancelCause(t.Context())
	dial := m.Dial
	m.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		return cancelOnWrite{conn, cancel}, err
	}
	require.ErrorIs(t, m.Send(ctx, message()), context.Canceled)
	<-heard
}

// cancelOnWrite cancels once the client has asked something.
type cancelOnWrite struct {
	net.Conn
	cancel context.CancelCauseFunc
}

func (c cancelOnWrite) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.cancel(errors.New("the time is over"))
	return n, err
}

func TestASubjectCannotAddAField(t *testing.T) {
	m := message()
	m.Events[0].Subject = "a\r\nBcc: all@school.test"
	var b strings.Builder
	from := &mail.Address{Address: "g@school.test"}
	require.NoError(t, letter{from, []*mail.Address{from}, m}.write(&b))
	read, err := mail.ReadMessage(strings.NewReader(b.String()))
	require.NoError(t, err)
	require.Empty(t, read.Header.Get("Bcc"))
}
