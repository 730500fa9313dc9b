package alarm

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/wneessen/go-mail"
)

// Mail sends messages by SMTP.
type Mail struct {
	Host string // of the server: what its certificate must say
	Port int
	// TLS is "starttls" (RFC 3207), "tls" (RFC 8314, from the first byte) or
	// "none". The first two are never given up for none.
	TLS          string
	From         string
	To           []string
	User         string // empty: no login
	PasswordFile string
	Config       *tls.Config
	Dial         func(ctx context.Context, network, address string) (net.Conn, error)
}

// Name implements Sender.
func (Mail) Name() string { return "mail" }

// Send implements Sender. The password is read anew each time, and is in no
// error.
func (s Mail) Send(ctx context.Context, m Message) error {
	letter := mail.NewMsg()
	if err := letter.From(s.From); err != nil {
		return fmt.Errorf("alarm.mail_from: %w", err)
	}
	if err := letter.To(s.To...); err != nil {
		return fmt.Errorf("alarm.mail_to: %w", err)
	}
	letter.Subject(m.Subject())
	letter.SetDateWithValue(m.At)
	letter.SetMessageID()
	letter.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no holiday replies
	letter.SetBodyString(mail.TypeTextPlain, m.Text())
	// go-mail leaves a connection open whose beginning goes wrong.
	var opened net.Conn
	dial := s.Dial
	s.Dial = func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		conn, err = dial(ctx, network, address)
		opened = conn
		return conn, err
	}
	defer func() {
		if opened != nil {
			opened.Close()
		}
	}()
	client, err := s.client()
	if err != nil {
		return err
	}
	return client.DialAndSendWithContext(ctx, letter)
}

func (s Mail) client() (*mail.Client, error) {
	dial := s.Dial
	options := []mail.Option{mail.WithPort(s.Port), mail.WithTimeout(sendTime), mail.WithTLSConfig(s.Config), mail.WithoutNoop()}
	switch s.TLS {
	case "tls":
		dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := s.Dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			secure := tls.Client(conn, s.Config)
			if err := secure.HandshakeContext(ctx); err != nil {
				conn.Close()
				return nil, err
			}
			return secure, nil
		}
		options = append(options, mail.WithTLSPolicy(mail.NoTLS))
	case "none":
		options = append(options, mail.WithTLSPolicy(mail.NoTLS))
	default:
		options = append(options, mail.WithTLSPolicy(mail.TLSMandatory))
	}
	if s.User != "" {
		password, err := os.ReadFile(s.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("alarm.mail_password_file: %w", err)
		}
		kind := mail.SMTPAuthAutoDiscover
		if s.TLS == "tls" { // go-mail does not know that it is secure already
			kind = mail.SMTPAuthPlainNoEnc
		}
		options = append(options, mail.WithSMTPAuth(kind), mail.WithUsername(s.User), mail.WithPassword(strings.TrimRight(string(password), "\r\n")))
	}
	return mail.NewClient(s.Host, append(options, mail.WithDialContextFunc(dial))...)
}
