// Package syslog brings messages to a syslog server: to a Unix socket of
// datagrams, by UDP (RFC 5426), by TCP in octet-counted frames (RFC 6587, section
// 3.4.1) or by TLS (RFC 5425). The messages are made by internal/flow.
//
// It keeps nothing and decides nothing. Who writes to a Sender waits while the
// server is away; the queue before it bounds how much waits, and what finds no
// place there is lost and counted.
package syslog

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"

	"gatehouse/policy"
)

// Way is how messages reach a server.
type Way string

// The ways; they are the schemes of a Server.
const (
	Unix Way = "unix"
	UDP  Way = "udp"
	TCP  Way = "tcp"
	TLS  Way = "tls"
)

// The ports that IANA has registered, for a Server that names none. There is none
// for plain TCP that servers agree on (RFC 6587, section 3).
const (
	udpPort = 514
	tlsPort = 6514
)

// Server is where messages go; the zero Server is nowhere.
type Server struct {
	Way  Way
	Path string      // of a Unix socket
	Dest policy.Dest // by the network
}

// IsZero reports whether s is nowhere.
func (s Server) IsZero() bool { return s.Way == "" }

// String is the server as it stands in gatehouse.toml.
func (s Server) String() string {
	switch s.Way {
	case "":
		return ""
	case Unix:
		return "unix://" + s.Path
	}
	return string(s.Way) + "://" + net.JoinHostPort(s.Dest.Host.String(), strconv.Itoa(int(s.Dest.Port)))
}

// UnmarshalText implements encoding.TextUnmarshaler: "unix:///dev/log",
// "udp://HOST[:514]", "tcp://HOST:PORT", "tls://HOST[:6514]", or nothing.
func (s *Server) UnmarshalText(text []byte) error {
	*s = Server{}
	if len(text) == 0 {
		return nil
	}
	scheme, rest, _ := strings.Cut(string(text), "://")
	switch way := Way(strings.ToLower(scheme)); way {
	case Unix:
		if !filepath.IsAbs(rest) || strings.ContainsRune(rest, 0) {
			return fmt.Errorf("%q names no socket: write its whole path, like \"unix:///dev/log\"", text)
		}
		*s = Server{Way: way, Path: rest}
		return nil
	case UDP, TCP, TLS:
		dest, err := destOf(rest, map[Way]uint16{UDP: udpPort, TLS: tlsPort}[way])
		if err != nil {
			return fmt.Errorf("%q names no syslog server: %w", text, err)
		}
		*s = Server{Way: way, Dest: dest}
		return nil
	}
	return fmt.Errorf("%q is no syslog server: write it like \"tls://siem.example.org\", \"tcp://10.20.0.9:601\", \"udp://10.20.0.9\" or \"unix:///dev/log\"", text)
}

// destOf reads a host with a port, which may be left out where there is a usual one.
func destOf(text string, usual uint16) (policy.Dest, error) {
	name, number, err := net.SplitHostPort(text)
	if err != nil {
		name, number = strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"), strconv.Itoa(int(usual))
	}
	host, err := policy.ParseHost(name)
	if err != nil {
		return policy.Dest{}, err
	}
	port, err := strconv.ParseUint(number, 10, 16)
	if err != nil || port == 0 {
		return policy.Dest{}, errors.New("write its port, like \":601\"")
	}
	return policy.Dest{Host: host, Port: uint16(port)}, nil
}

// Facilities are the names of RFC 5424, table 1, as syslog.conf spells them; the
// place of each is its number.
func Facilities() []string {
	return []string{"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
		"ntp", "security", "console", "solaris-cron", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"}
}
