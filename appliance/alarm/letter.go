package alarm

import (
	"crypto/rand"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"time"
)

// letter is a message as mail (RFC 5322): plain text in UTF-8.
type letter struct {
	from *mail.Address
	to   []*mail.Address
	m    Message
}

// write leaves w open.
func (l letter) write(w io.Writer) error {
	_, host, _ := strings.Cut(l.from.Address, "@")
	to := make([]string, len(l.to))
	for i, address := range l.to {
		to[i] = address.String()
	}
	var head strings.Builder
	for _, field := range [][2]string{
		{"Date", l.m.At.Format(time.RFC1123Z)},
		{"From", l.from.String()},
		{"To", strings.Join(to, ",\r\n ")},
		{"Subject", mime.QEncoding.Encode("utf-8", l.m.Subject())},
		{"Message-ID", "<" + rand.Text() + "@" + host + ">"},
		{"Auto-Submitted", "auto-generated"}, // RFC 3834: no holiday replies
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", "quoted-printable"},
	} {
		fmt.Fprintf(&head, "%s: %s\r\n", field[0], field[1])
	}
	if _, err := io.WriteString(w, head.String()+"\r\n"); err != nil {
		return err
	}
	body := quotedprintable.NewWriter(w)
	if _, err := io.WriteString(body, l.m.Text()); err != nil {
		return err
	}
	return body.Close()
}
