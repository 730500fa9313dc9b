package rules

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const proposed = `version = 1
[[client]]
name = "emerge"
from = ["10.20.0.5", "10.20.0.6"]
[[allow]]
name = "plain"
clients = ["10.20.0.5"]
hosts = ["www.example.org"]
ports = 80
methods = ["GET"]  # reading
paths = ["/a/*"]
types = [
  "text/html",
]
[[allow]]
name = "site"
hosts = ["www.example.net"]
[[pack]]
name = "heartbeat"
[[deny]]
name = "video"
hosts = ["video.example.org"]
`

func TestAProposalIsTheLineThatIsMissing(t *testing.T) {
	for _, c := range []struct {
		name, client, target string
		line                 int
		text                 string // empty: no proposal
	}{
		{"a method", "10.20.0.5", "PUT http://www.example.org/a/b", 10, `methods = ["GET", "PUT"]  # reading`},
		{"a path", "10.20.0.5", "GET http://www.example.org/b", 11, `paths = ["/a/*", "/b"]`},
		{"a port, where one is stated", "10.20.0.5", "CONNECT www.example.org:443", 9, "ports = [80, 443]"},
		{"a port, where none is stated", "10.20.0.5", "CONNECT www.example.net:8443", 15, "[[allow]]\nports = [443, 8443]"},
		{"a client", "10.20.0.6", "GET http://www.example.org/a/b", 7, `clients = ["10.20.0.5", "10.20.0.6"]`},
		{"a type, in a list of several lines", "10.20.0.5", "GET http://www.example.org/a/b -> text/xml", 0, ""},
		{"a host", "10.20.0.5", "CONNECT files.school.example:8443", 0, "[[allow]]\nname = \"files.school.example\"\nclients = [\"10.20.0.5\"]\nhosts = [\"files.school.example\"]\nports = [8443]\nbecause = \"say why\""},
		{"a host one letter from a listed one", "10.20.0.5", "CONNECT www.exampel.net:443", 0, ""},
		{"a port of a pack's host", "10.20.0.5", "CONNECT dashboard.groupcall.com:8443", 0, "[[allow]]\nname = \"dashboard.groupcall.com\"\nclients = [\"10.20.0.5\"]\nhosts = [\"dashboard.groupcall.com\"]\nports = [8443]\nbecause = \"say why\""},
		{"an address", "10.20.0.5", "DNS www.example.net = 10.0.0.1", 0, ""},
		{"a deny", "10.20.0.5", "CONNECT video.example.org:443", 0, ""},
		{"what is allowed", "10.20.0.5", "CONNECT www.example.net:443", 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			env := testEnv(t)
			loaded, problems := Load("rules.toml", []byte(proposed), env)
			require.NotNil(t, loaded, "%v", problems)
			q, err := ParseTarget(c.target)
			require.NoError(t, err)
			q.Client, q.At = netip.MustParseAddr(c.client), testNow
			p, ok := Propose("rules.toml", []byte(proposed), q, loaded.Policy.Explain(q))
			require.Equal(t, c.text != "", ok)
			require.Equal(t, c.text, p.Text)
			if !ok {
				return
			}
			require.Equal(t, c.line, p.Line)

			// It does what it says: the passage gets past the step.
			lines := strings.Split(proposed, "\n")
			if p.Line > 0 {
				lines[p.Line-1] = p.Text
			} else {
				lines = append(lines, p.Text, "")
			}
			edited, problems := Load("rules.toml", []byte(strings.Join(lines, "\n")), env)
			require.NotNil(t, edited, "%v", problems)
			if c.name != "a port, where one is stated" { // there the rule's other clauses speak next
				require.True(t, edited.Policy.Explain(q).Verdict.Allowed())
			}
		})
	}
}
