package alarm

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/smtp"
	"os"
	"strconv"
	"strings"
	"time"

	"gatehouse/internal/wholefile"
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
// error, whatever the server says.
func (s Mail) Send(ctx context.Context, m Message) error {
	from, err := mail.ParseAddress(s.From)
	if err != nil {
		return fmt.Errorf("alarm.mail_from: %w", err)
	}
	to, err := parseAddresses(s.To)
	if err != nil {
		return fmt.Errorf("alarm.mail_to: %w", err)
	}
	login, err := s.login()
	if err != nil {
		return err
	}
	conn, err := s.Dial(ctx, "tcp", net.JoinHostPort(s.Host, strconv.Itoa(s.Port)))
	if err != nil {
		return err
	}
	defer conn.Close()
	// net/smtp knows no context: what waits for the server is broken off.
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := s.deliver(&bounded{conn, mostSaid}, login, letter{from, to, m}); err != nil {
		return fmt.Errorf("alarm.mail_server %s: %w", s.Host, errors.Join(errors.New(quoted(err, login)), ctx.Err()))
	}
	return nil
}

func parseAddresses(list []string) ([]*mail.Address, error) {
	var all []*mail.Address
	for _, text := range list {
		address, err := mail.ParseAddress(text)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", text, err)
		}
		all = append(all, address)
	}
	return all, nil
}

// login is nil where none is wanted.
func (s Mail) login() (*login, error) {
	if s.User == "" {
		return nil, nil
	}
	password, err := wholefile.Read(s.PasswordFile, 1<<16)
	if err != nil {
		return nil, fmt.Errorf("alarm.mail_password_file: %w", err)
	}
	return &login{user: s.User, password: strings.TrimRight(string(password), "\r\n"), host: s.Host}, nil
}

// deliver leaves conn open.
func (s Mail) deliver(conn net.Conn, login *login, l letter) error {
	if s.TLS == "tls" {
		conn = tls.Client(conn, s.Config)
	}
	client, err := smtp.NewClient(conn, s.Host)
	if err != nil {
		return err
	}
	if err := client.Hello(ownName()); err != nil {
		return err
	}
	if s.TLS != "tls" && s.TLS != "none" {
		if offered, _ := client.Extension("STARTTLS"); !offered {
			return errors.New(`it offers no STARTTLS; where its port is for TLS from the first byte (465), write mail_tls = "tls"`)
		}
		if err := client.StartTLS(s.Config); err != nil {
			return fmt.Errorf("STARTTLS: %w", err)
		}
	}
	if login != nil {
		if err := client.Auth(login); err != nil {
			return fmt.Errorf("login as %s: %w", s.User, err)
		}
	}
	if err := client.Mail(l.from.Address); err != nil {
		return err
	}
	for _, to := range l.to {
		if err := client.Rcpt(to.Address); err != nil {
			return fmt.Errorf("%s: %w", to.Address, err)
		}
	}
	body, err := client.Data()
	if err != nil {
		return err
	}
	if err := l.write(body); err != nil {
		return err
	}
	if err := body.Close(); err != nil { // the server has taken it, or not
		return err
	}
	// It has the letter: what it says now changes nothing, and holds up nobody.
	client.Text.Cmd("QUIT")
	return nil
}

// ownName is what the gate calls itself (RFC 5321, 4.1.4).
func ownName() string {
	name, err := os.Hostname()
	if err != nil || strings.ContainsAny(name, " \r\n") {
		return "localhost"
	}
	return name
}
