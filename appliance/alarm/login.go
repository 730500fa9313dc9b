package alarm

import (
	"errors"
	"fmt"
	"net/smtp"
	"slices"
)

// login is PLAIN (RFC 4616), or LOGIN where the server has nothing better, as
// Microsoft 365. Both show the server the password, so neither is done without TLS
// and with no other than host.
type login struct {
	user, password, host string
	plain                smtp.Auth // nil: LOGIN
	asked                int
}

// Start implements smtp.Auth.
func (l *login) Start(server *smtp.ServerInfo) (string, []byte, error) {
	switch {
	case !server.TLS || server.Name != l.host:
		return "", nil, errors.New("a password is not sent without TLS")
	case slices.Contains(server.Auth, "PLAIN"):
		l.plain = smtp.PlainAuth("", l.user, l.password, l.host)
		return l.plain.Start(server)
	case slices.Contains(server.Auth, "LOGIN"):
		return "LOGIN", nil, nil
	}
	return "", nil, fmt.Errorf("the server takes neither PLAIN nor LOGIN, but %q", server.Auth)
}

// Next implements smtp.Auth. LOGIN is in no RFC: servers ask for the name, then
// for the password, in words of their own (draft-murchison-sasl-login).
func (l *login) Next(asks []byte, more bool) ([]byte, error) {
	if l.plain != nil {
		return l.plain.Next(asks, more)
	}
	if !more {
		return nil, nil
	}
	l.asked++
	switch l.asked {
	case 1:
		return []byte(l.user), nil
	case 2:
		return []byte(l.password), nil
	}
	return nil, errors.New("the server asks for more than a name and a password")
}
