package doctor

import (
	_ "embed"
	"io"
	"net/netip"
	"strings"
	"text/template"
	"time"

	"gatehouse/policy"
)

// ScriptOptions says where the agents' machine finds the gate.
type ScriptOptions struct {
	Version    string
	Proxy, DNS netip.AddrPort // the gate is at the proxy's address
	Pack       string         // one pack; empty: all, and the file's own rules
	At         time.Time
}

//go:embed script.ps1
var scriptText string

var script = template.Must(template.New("script").Funcs(template.FuncMap{"quote": quote}).Parse(scriptText))

// quote is a literal string of PowerShell: nothing in it is expanded, and a
// quotation mark is doubled.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// scriptPlace is a place as the script names it.
type scriptPlace struct {
	Host, Speaks, Path string
	Port               uint16
}

// Script writes a script for Windows PowerShell 5.1 that tries, from the machine
// with the agents, what the rules permit. It changes nothing there.
func Script(w io.Writer, p *policy.Policy, o ScriptOptions) error {
	var places []scriptPlace
	seen := map[scriptPlace]bool{}
	room := mostTargets
	packs, err := asked(p, o.Pack)
	if err != nil {
		return err
	}
	for _, pack := range packs {
		for _, e := range errands(p, pack, o.At, &room) {
			for _, t := range e.targets {
				w := way{t: t}
				s := scriptPlace{Host: t.dest.Host.String(), Port: t.dest.Port, Speaks: speech(t.protocol), Path: w.path()}
				if !seen[s] && !strings.Contains(s.Host, ":") {
					seen[s] = true
					places = append(places, s)
				}
			}
		}
	}
	// As Windows ends lines: the file is opened by Notepad, too.
	return script.Execute(crlf{w}, map[string]any{
		"Made": o.At.UTC().Format("2006-01-02"), "Version": ascii(o.Version), "Gate": o.Proxy.Addr().String(), "ProxyPort": o.Proxy.Port(), "DNSPort": o.DNS.Port(), "Places": places,
	})
}

func speech(p policy.Protocol) string {
	switch p {
	case policy.PlainHTTP:
		return "http"
	case policy.TLS:
		return "tls"
	}
	return "tcp"
}

// ascii is what of s can stand in a comment.
func ascii(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}

// crlf ends lines as Windows does.
type crlf struct{ io.Writer }

func (c crlf) Write(p []byte) (int, error) {
	_, err := io.WriteString(c.Writer, strings.ReplaceAll(string(p), "\n", "\r\n"))
	return len(p), err
}
