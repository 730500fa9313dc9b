package rules

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/policy"
)

// The clients of the test: the school's server and a pupil's device.
const (
	server = "10.20.0.5"
	device = "10.30.0.7"
)

// site is a whole school: the server runs everything, the devices the app.
const site = `version = 1
[[client]]
name = "server"
from = ["10.20.0.5"]
[[client]]
name = "devices"
from = ["10.30.0.0/16"]
[[pack]]
name = "emerge-server"
clients = ["server"]
[[pack]]
name = "xporter"
clients = ["server"]
[[pack]]
name = "heartbeat"
clients = ["server"]
[[pack]]
name = "windows-trust"
clients = ["server"]
[[pack]]
name = "windows-update"
clients = ["server"]
[[pack]]
name = "emerge-client"
clients = ["devices"]
[[pack]]
name = "app-stores"
clients = ["devices"]
[[publish]]
name = "emerge-server"
clients = ["devices"]
listen = "10.20.0.1:8080"
to = "http://10.20.0.5:8080"
`

// together gives one client every pack.
const together = `version = 1
[[client]]
name = "server"
from = ["10.20.0.5"]
[[pack]]
name = "emerge-server"
clients = ["server"]
[[pack]]
name = "emerge-client"
clients = ["server"]
[[pack]]
name = "xporter"
clients = ["server"]
[[pack]]
name = "heartbeat"
clients = ["server"]
[[pack]]
name = "service-bus"
clients = ["server"]
[[pack]]
name = "app-stores"
clients = ["server"]
[[pack]]
name = "windows-trust"
clients = ["server"]
[[pack]]
name = "windows-update"
clients = ["server"]
[[publish]]
name = "emerge-server"
clients = ["server"]
listen = "10.20.0.1:8080"
to = "http://10.20.0.5:8080"
`

func loadText(t testing.TB, text string) *Loaded {
	env := testEnv(t)
	env.Inspection = true
	loaded, problems := Load("rules.toml", []byte(text), env)
	require.NotNil(t, loaded, "%v", problems)
	return loaded
}

// ask puts a target to a policy as its rules read, and gives the verdict.
func ask(t testing.TB, l *Loaded, client, target string) policy.Verdict {
	c, err := ParseTarget(target)
	require.NoError(t, err)
	c.Client, c.At = netip.MustParseAddr(client), testNow
	explained, enforced := l.Policy.Explain(c).Verdict, enforcement(l.Policy, c)
	require.Equal(t, enforced, explained, "explain and enforcement differ on %s", target)
	c.AsIfInspected = true
	return l.Policy.Explain(c).Verdict
}

// enforcement asks the questions of the gate one by one, as the proxy and the
// DNS filter do for a passage that turns out like this. In monitor mode the
// first refusal that was let pass is the one to tell of.
func enforcement(p *policy.Policy, c policy.Case) policy.Verdict {
	var told policy.Verdict
	var permit policy.Permit
	passes := func(v policy.Verdict, next policy.Permit) bool {
		if !told.Would || !v.Allowed() {
			told = v
		}
		permit = next
		return v.Allowed()
	}
	var looks bool
	switch {
	case c.Kind == policy.CasePublish:
		if pub := p.Publication(c.Publish); pub != nil {
			c.Dest = pub.To
		}
		if !passes(p.Published(policy.Published{At: c.At, Client: c.Client, Name: c.Publish, Method: c.Method,
			Path: c.Path, Body: c.UploadStated, Upload: c.Upload, Upgrade: c.Upgrade})) {
			return told
		}
	case c.Kind == policy.CaseDNS:
		if !passes(p.Query(policy.Query{At: c.At, Client: c.Client, Name: c.Dest.Host, Type: c.QueryType})) {
			return told
		}
	case c.Kind == policy.CaseConnect || c.Secure:
		v, next := p.Connect(policy.Connect{At: c.At, Surface: policy.CONNECT, Client: c.Client, Dest: c.Dest})
		if !passes(v, next) {
			return told
		}
		looks = v.Effect == policy.Inspect
	}
	if c.Kind == policy.CaseRequest && (looks || !c.Secure) {
		if !passes(p.Request(policy.Request{At: c.At, Client: c.Client, Dest: c.Dest, Secure: c.Secure, Method: c.Method,
			Path: c.Path, Body: c.UploadStated, Upload: c.Upload, Upgrade: c.Upgrade})) {
			return told
		}
	}
	addr := c.Addr
	if c.Dest.Host.IsIP() {
		addr = c.Dest.Host.Addr()
	}
	if addr.IsValid() && !passes(p.Answer(policy.Answer{At: c.At, Permit: permit, Addr: addr})) {
		return told
	}
	if c.TypeStated {
		if v, next := p.Response(policy.Response{At: c.At, Permit: permit, Type: c.Type}); v.Reason != policy.NoPolicy {
			passes(v, next)
		}
	}
	return told
}

// elsewhere are the questions of rows for which the vendor's pages name no
// hosts: examples of those that the makers of stores and Windows name.
var elsewhere = map[string][]string{
	"E26": {
		"CONNECT itunes.apple.com:443", "GET http://itunes.apple.com/lookup", "CONNECT buy.itunes.apple.com:443", "CONNECT is1-ssl.mzstatic.com:443",
		"CONNECT ppq.apple.com:443", "CONNECT appleid.apple.com:443", "GET http://ocsp.apple.com/", "DNS itunes.apple.com = 151.101.1.1",
	},
	"E27": {
		"CONNECT play.google.com:443", "CONNECT play.google.com:5228", "CONNECT fcm.googleapis.com:5230", "CONNECT www.gstatic.com:443",
		"CONNECT gstatic.com:443", "CONNECT r4.gvt1.com:443", "CONNECT play-lh.googleusercontent.com:443", "DNS android.clients.google.com = 151.101.1.1",
	},
	"X12": {
		"CONNECT fe2cr.update.microsoft.com:443", "GET http://download.windowsupdate.com/c/msdownload/update.cab", "CONNECT download.microsoft.com:443",
		"GET http://3.tlu.dl.delivery.mp.microsoft.com/filestreamingservice/files/1", "DNS fe2cr.update.microsoft.com = 151.101.1.1",
	},
}

// notAsked are the rows that no pack of this version carries.
var notAsked = map[string]string{
	"E08": "inside the school: SIMS SQL is reached without the gateway",
	"E09": "inside the school: the SIMS Document Server is reached without the gateway",
	"E10": "inside the school: the CMIS SQL server is reached without the gateway",
	"E34": "the address of the support tool is lost in every copy of the page",
	"X11": "inside the school: the MIS is reached without the gateway",
	"X13": "nothing of its own: the hosts are those of X06 and X07",
	"X14": "nothing of its own: the host is that of X09",
}

// shared are rows that the other side's packs permit as well, wholly or in
// part, and why.
var shared = map[string]string{
	"E01": "E28 permits devices text/plain from the same host",
	"E04": "E28 permits devices text/plain from the same host", "E07": "E28 permits devices the same host",
	"E11": "E30 permits devices port 80", "E20": "E30 permits devices port 80", "E21": "E32 permits devices port 80",
	"E28": "E04 permits the server any other path", "E30": "E11 permits the server port 80",
	"E31": "E20 permits the server port 80", "E32": "E21 permits the server port 80",
	"X02": "E28 permits devices text/plain from the same host", "X03": "E28 permits devices text/plain on 443",
}

func TestEveryRequirementIsAllowedToItsSide(t *testing.T) {
	whole, all := loadText(t, site), loadText(t, together)
	for id, r := range requirements(t) {
		t.Run(id, func(t *testing.T) {
			if why, ok := notAsked[id]; ok {
				t.Log("not asked:", why)
				for _, pack := range split(r.pack) {
					require.NotContains(t, packNames(), pack, "a pack of this version carries it")
				}
				return
			}
			if id == "E24" {
				return // asked as refused, below
			}
			questions := r.questions()
			require.Greater(t, len(questions), 1)
			for _, q := range questions {
				client := r.asks()
				require.Equal(t, "allowed matched", fmt.Sprint(ask(t, whole, client, q), " ", ask(t, whole, client, q).Reason), q)
				require.Equal(t, policy.Matched, ask(t, all, server, q).Reason, "with every pack on one client: %s", q)
			}
			for _, pack := range split(r.pack) {
				if pack == "publish" {
					continue // a table of its own, and no pack
				}
				alone := loadText(t, "version = 1\n[[pack]]\nname = \""+pack+"\"\n")
				for _, q := range questions {
					require.Equal(t, policy.Matched, ask(t, alone, "127.0.0.1", q).Reason, "pack %s alone: %s", pack, q)
				}
			}
		})
	}
}

func TestEveryRequirementIsRefusedToTheOtherSide(t *testing.T) {
	whole := loadText(t, site)
	for id, r := range requirements(t) {
		if notAsked[id] != "" || id == "E24" {
			continue
		}
		t.Run(id, func(t *testing.T) {
			client := device
			if r.asks() == device {
				client = server
			}
			refused := 0
			for _, q := range r.questions() {
				if v := ask(t, whole, client, q); !v.Allowed() {
					refused++
				}
			}
			if shared[id] != "" {
				return
			}
			require.Positive(t, refused, "the other side may do all of this")
			for _, q := range r.questions() {
				if strings.HasPrefix(q, "DNS ") && ask(t, whole, client, q).Allowed() {
					continue // the name is the other side's too; its ports or types are not
				}
				if strings.HasPrefix(q, "CONNECT ") && strings.HasSuffix(q, ".groupcall.co.uk:443") {
					continue
				}
				v := ask(t, whole, client, q)
				require.Contains(t, []string{"client-not-listed", "port-not-listed", "type-not-listed", "upload-not-listed"}, v.Reason.String(), q)
			}
		})
	}
}

func TestNoPortOfTheServiceBusIsOpenToDevicesButEighty(t *testing.T) {
	whole := loadText(t, site)
	for _, port := range []int{443, 5671, 5672, 9350, 9351, 9352, 9353, 9354} {
		for _, host := range []string{"emergeen.servicebus.windows.net", "watchdog.servicebus.windows.net"} {
			v := ask(t, whole, device, fmt.Sprintf("CONNECT %s:%d", host, port))
			require.Equal(t, policy.PortNotListed, v.Reason)
		}
	}
	require.Equal(t, policy.Matched, ask(t, whole, device, "CONNECT emergeen.servicebus.windows.net:80").Reason)
}

// E25 and E29: what is not on the vendor's page does not come in.
func TestOnlyWhatIsPublishedComesIn(t *testing.T) {
	whole := loadText(t, site)
	for target, reason := range map[string]policy.Reason{
		"PUBLISH emerge-server DELETE /api":  policy.MethodNotListed,
		"PUBLISH emerge-server HEAD /api":    policy.MethodNotListed,
		"PUBLISH emerge-server OPTIONS /api": policy.MethodNotListed,
		"PUBLISH another GET /api":           policy.HostNotListed,
	} {
		require.Equal(t, reason.String(), ask(t, whole, device, target).Reason.String(), target)
	}
	require.Equal(t, policy.ClientNotListed, ask(t, whole, "151.101.1.1", "PUBLISH emerge-server GET /api").Reason)
}

// E24: all communication is outgoing, and only to what is listed.
func TestNothingComesInUnasked(t *testing.T) {
	whole := loadText(t, site)
	require.Equal(t, policy.ClientNotListed, ask(t, whole, "151.101.1.1", "CONNECT emergeen.servicebus.windows.net:443").Reason)
	require.Equal(t, policy.HostNotListed, ask(t, whole, server, "GET http://10.20.0.5/").Reason)
}

func TestTheStoresAreNeverLookedInto(t *testing.T) {
	whole := loadText(t, site)
	require.True(t, whole.Policy.Inspection())
	for _, r := range whole.Policy.Rules() {
		if r.Pack != "app-stores" {
			continue
		}
		require.Empty(t, r.Inner(), r.Name)
		for _, h := range r.Hosts {
			require.True(t, r.Inspect == policy.InspectNever || !slices.ContainsFunc(r.Ports, func(p policy.PortRange) bool { return p.Contains(443) }) ||
				policy.NeverInspected(sample(h.HostPattern)), "%s of %s", h, r.Name)
		}
	}
	for _, pack := range []string{"app-stores", "windows-trust", "windows-update"} {
		loaded, problems := Load("default.toml", Default(), testEnv(t))
		require.NotNil(t, loaded, "%v", problems)
		require.NotContains(t, loaded.Packs, pack, "off by default")
	}
	require.Equal(t, policy.HostNotListed, ask(t, whole, device, "CONNECT evilgstatic.com:443").Reason)
}

func TestWindowsTrustReachesListsAndNothingElse(t *testing.T) {
	whole := loadText(t, site)
	for target, reason := range map[string]policy.Reason{
		"GET http://ctldl.windowsupdate.com/msdownload/update/v3/static/trustedr/en/authrootstl.cab": policy.Matched,
		"POST http://ocsp.digicert.com/ <- application/ocsp-request":                                 policy.Matched,
		"GET http://www.microsoft.com/pkiops/crl/MicSecSerCA2011.crl":                                policy.Matched,
		"GET http://cacerts.digicert.com/DigiCertGlobalRootG2.crt":                                   policy.Matched,
		"GET http://www.microsoft.com/en-gb/":                                                        policy.PathNotListed,
		"CONNECT www.microsoft.com:443":                                                              policy.PortNotListed,
	} {
		require.Equal(t, reason.String(), ask(t, whole, server, target).Reason.String(), target)
	}
}

func TestWhatMustBeRefused(t *testing.T) {
	whole := loadText(t, site+"[[allow]]\nname = \"icloud\"\nhosts = [\"*.icloud.com\"]\n")
	for _, c := range []struct {
		name, client, target string
		reason               policy.Reason
	}{
		{"the misspelt Service Bus", server, "CONNECT emergeen.servcebus.windows.net:443", policy.HostNotListed},
		{"the misspelt Service Bus by name", device, "DNS emergeen.servcebus.windows.net", policy.HostNotListed},
		{"a name that only begins like the Service Bus", server, "CONNECT emergeen.servicebus.windows.net.evil.example:443", policy.HostNotListed},
		{"another school's namespace", server, "CONNECT x.servicebus.windows.net:443", policy.HostNotListed},
		{"the namespace in West Europe", server, "DNS emergeen.servicebus.windows.net = 13.69.64.65", policy.AddressNotAllowed},
		{"the namespace in northeurope2", server, "DNS emergeen.servicebus.windows.net = 40.78.212.1", policy.AddressNotAllowed},
		{"the namespace at a private address", server, "DNS emergeen.servicebus.windows.net = 10.0.0.1", policy.AddressNotAllowed},
		{"a gateway in West Europe", server, "DNS g0-prod-db3-001-sb.servicebus.windows.net = 13.69.64.65", policy.AddressNotAllowed},
		{"PUT to the dashboard over http", server, "PUT http://dashboard.groupcall.com/x", policy.MethodNotListed},
		{"DELETE to the dashboard over https", server, "DELETE https://dashboard.groupcall.com/x", policy.MethodNotListed},
		{"a program as text/html", server, "GET https://www.groupcall.co.uk/setup.exe -> text/html", policy.TypeNotListed},
		{"a manifest as text/html over http", server, "GET http://www.groupcall.co.uk/update.inf -> text/html", policy.TypeNotListed},
		{"a chunked endpoint that is no gateway", server, "GET http://evil-sb.servicebus.windows.net/", policy.HostNotListed},
		{"a cluster name asked for directly", server, "DNS ns-sb2-prod-db3-001.cloudapp.net", policy.HostNotListed},
		{"a type 65 question", server, "DNS emergeen.servicebus.windows.net HTTPS", policy.QueryTypeNotAllowed},
		{"a canary below a permitted wildcard", server, "DNS mask.icloud.com", policy.Canary},
		{"the watchdog outside the tag ServiceBus", server, "DNS watchdog.servicebus.windows.net = 70.37.104.241", policy.AddressNotAllowed},
		{"another port of the update host", server, "CONNECT www.groupcall.co.uk:22", policy.PortNotListed},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := ask(t, whole, c.client, c.target)
			require.False(t, v.Allowed())
			require.Equal(t, c.reason.String(), v.Reason.String())
		})
	}
	require.Equal(t, policy.Matched, ask(t, whole, server, "GET https://www.groupcall.co.uk/a.gcu -> application/x-zip-compressed;v=1").Reason,
		"a parameter of the media type is no difference")
}
