package alarm

import (
	"encoding/base64"
	"fmt"
	"net"
	"strconv"
	"strings"
	"unicode"
)

// mostSaid is how many octets a mail server may say for one letter: far more than a TLS
// handshake and a few answers of 512 octets take (RFC 5321, 4.5.3.1.5). Package textproto
// reads lines, and answers of many lines, of any length into memory.
const mostSaid = 128 << 10

// bounded is a connection that is read no further than left.
type bounded struct {
	net.Conn
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, fmt.Errorf("it says more than the %d KiB that one letter takes: is it a mail server?", mostSaid>>10)
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// mostQuoted is how many octets of what a server says are told.
const mostQuoted = 500

// quoted is what went wrong, in the server's words where it has some: one line that can be
// shown on a terminal, without the password, which some servers repeat. A nil login has none.
func quoted(err error, l *login) string {
	words := err.Error()
	if l != nil && l.password != "" {
		for _, secret := range []string{
			base64.StdEncoding.EncodeToString([]byte("\x00" + l.user + "\x00" + l.password)),
			base64.StdEncoding.EncodeToString([]byte(l.password)),
			strings.Trim(strconv.Quote(l.password), `"`), // as package textproto tells it
			l.password,
		} {
			words = strings.ReplaceAll(words, secret, "[password]")
		}
	}
	words = strings.ToValidUTF8(words, "?")
	words = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, words)
	if len(words) > mostQuoted {
		words = strings.ToValidUTF8(words[:mostQuoted], "") + " ..."
	}
	return words
}
