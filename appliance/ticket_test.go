package appliance

import (
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/appliance/doctor"
	"gatehouse/dnsallow"
	"gatehouse/internal/nettest"
	"gatehouse/policy"
	"gatehouse/rules"
)

const ticketRules = `version = 1
[[client]]
name = "emerge"
from = "127.0.0.0/8"
[[pack]]
name    = "emerge-server"
clients = "emerge"
[[allow]]
name  = "own-rule"
hosts = ["intranet.school.test", "*.groupcall.co.uk"]
ports = 8443
owner = "Owner Secret"
because = "because secret"
[[publish]]
name    = "secret-door"
clients = "emerge"
listen  = "127.0.0.1:0"
to      = "http://server.secret.test"
`

const ticketConfig = `
[[upstream]]
name = "county"
url  = "http://usersecret:passsecret@parent.secret.test:8080"
[[dns.host]]
name = "sims.secret.test"
addresses = "10.77.66.55"
[[dns.forward]]
zone = "zone.secret.test"
servers = "10.77.66.56"
[log]
decisions = "decisions.log"
`

func TestATicketTellsWhatAVendorNeedsAndNothingOfTheSchool(t *testing.T) {
	t.Parallel()
	s := newSite(t, ticketRules)
	s.configure(ticketConfig)
	s.dns.Zone(t, "www.groupcall.co.uk. 60 IN CNAME cdn.groupcall.example.", "cdn.groupcall.example. 60 IN A 127.0.0.1",
		"emergeen.servicebus.windows.net. 60 IN A 10.99.98.97", "intranet.school.test. 60 IN A 127.0.0.1")
	for range 2 {
		peer := nettest.Dial(t, s.address("proxy"))
		peer.Say("GET http://www.groupcall.co.uk/update.exe?key=querysecret HTTP/1.1\r\nHost: www.groupcall.co.uk\r\nCookie: headersecret\r\nX-Secret: headersecret\r\n\r\n")
		res, _ := peer.Response("GET")
		require.Equal(t, 403, res.StatusCode)
	}
	peer := nettest.Dial(t, s.address("proxy"))
	peer.Say("GET http://usersecret:passsecret@www.groupcall.co.uk/update.exe HTTP/1.1\r\nHost: www.groupcall.co.uk\r\n\r\n").Response("GET")
	for _, head := range []string{
		"CONNECT www.groupcall.co.uk:22 HTTP/1.1\r\nHost: www.groupcall.co.uk:22\r\nProxy-Authorization: Basic headersecret\r\n\r\n",
		"CONNECT emergeen.servicebus.windows.net:5671 HTTP/1.1\r\nHost: emergeen.servicebus.windows.net:5671\r\n\r\n",
		"CONNECT intranet.school.test:1 HTTP/1.1\r\nHost: intranet.school.test:1\r\n\r\n",
	} {
		res, _ := nettest.Dial(t, s.address("proxy")).Say("%s", head).Response("CONNECT")
		require.Equal(t, 403, res.StatusCode)
	}
	s.decided("http", 3)
	s.decided("connect", 3)
	text, err := NewControl(s.Config.State.Dir).Ticket(t.Context(), doctor.Options{})
	require.NoError(t, err)
	s.isATicket(t, text)
	require.Contains(t, text, "by gatehouse test (test, ")
	require.Contains(t, text, "www.groupcall.co.uk:22\n  denied port-not-listed: ")

	require.NoError(t, s.stop()) // which ends the decision log
	files, err := Locate(filepath.Join(s.dir, "gatehouse.toml"), "")
	require.NoError(t, err)
	config, _, err := files.ReadConfig()
	require.NoError(t, err)
	loaded, problems := s.rulebook.Weigh([]byte(s.fill(ticketRules)))
	require.NotNil(t, loaded, "%v", problems)
	text, err = Ticket(t.Context(), files, config, loaded, doctor.Options{}, Build{Version: "test"})
	require.NoError(t, err)
	s.isATicket(t, text)
}

// isATicket holds a text to what is to be in a ticket, and what not.
func (s *site) isATicket(t *testing.T, text string) {
	t.Helper()
	for _, said := range []string{
		"\nPACKS IN USE\nemerge-server (rules.toml, line 5)\n", "  emerge-server/updates: www.groupcall.co.uk port 443; nothing carried lately\n",
		"GET http://www.groupcall.co.uk/update.exe\n", "; 2 times since ", "CONNECT www.groupcall.co.uk:22\n", "(emerge)",
		"CONNECT emergeen.servicebus.windows.net:5671\n  denied address-not-allowed", "the name leads to 10.99.98.97, no address",
		"; rule emerge-server/service-bus, line 5", "Azure addresses: the list of 20", "change number",
		"leads by way of cdn.groupcall.example to [internal ", "parent proxies", "days old", "\nWHAT THE DOCTOR FOUND\n",
	} {
		require.Contains(t, text, said)
	}
	require.Regexp(t, `\n20\d\d-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4} GH-[0-9A-Z]{8} CONNECT www`, text)
	for _, private := range []string{
		"secret", "sesame", "127.0.0.", "10.77.66", "intranet", "own-rule", "rules of your own", "key=", s.dir,
	} {
		require.NotContains(t, text, private)
	}
}

func TestAVeilNumbersTheSchoolsOwnAndLeavesTheRest(t *testing.T) {
	c := DefaultConfig()
	upstream, err := dnsallow.ParseUpstream("https://dns.test/abc123/dns-query")
	require.NoError(t, err)
	c.DNS.Upstreams = append(c.DNS.Upstreams, DNSServer{Upstream: upstream})
	file, problems := rules.Load("rules.toml", []byte("version = 1\n[[client]]\nname = \"us\"\nfrom = \"81.2.69.0/24\"\n[[allow]]\nname = \"a\"\nhosts = \"portal.school.test\"\nclients = \"us\"\n"), rules.Env{})
	require.NotNil(t, file, "%v", problems)
	v := newVeil(&c, file.Policy, time.Now())
	for _, test := range [][2]string{
		{"from 10.20.0.5 to 13.74.107.71", "from [internal 1] to 13.74.107.71"},
		{"again 10.20.0.5:443 and [fd00::5]:53", "again [internal 1]:443 and [[internal 2]]:53"},
		{"81.2.69.142 is a client of ours, 81.2.70.1 is not", "[internal 3] is a client of ours, 81.2.70.1 is not"},
		{"ask portal.school.test", "ask [internal 4]"},
		{"https://dns.test/abc123/dns-query does not answer: Post \"https://dns.test/abc123/dns-query\"", "https://[internal 6][internal 5] does not answer: Post \"https://[internal 6][internal 5]\""},
		{"at 2026-11-30T16:37:07Z, 12:00:00, ::ffff:10.20.0.5", "at 2026-11-30T16:37:07Z, 12:00:00, [internal 1]"},
		{"dial tcp 192.168.1.1: refused; ::1: refused", "dial tcp [internal 7]: refused; [internal 8]: refused"},
		{"2603:1020:5:402::171 answers", "2603:1020:5:402::171 answers"},
		{"sha256 50fa0bcb13d1289b, version 1.2.3", "sha256 50fa0bcb13d1289b, version 1.2.3"},
	} {
		require.Equal(t, test[1], v.text(test[0]))
	}
	require.Equal(t, "[internal 1]", v.addr(netip.MustParseAddr("::ffff:10.20.0.5")))
	require.Equal(t, "invalid IP", v.addr(netip.Addr{}))
	require.NotPanics(t, func() { newVeil(&c, (*policy.Policy)(nil), time.Now()) })
}
