package appliance

import (
	"fmt"
	"slices"
	"strings"

	"gatehouse/rules"
)

// The codes of what is wrong with gatehouse.toml beyond its form; they stand
// beside those of package rules.
const (
	codeUnreadable = "GH200" // a file that cannot be read
	codeSetting    = "GH201" // a value that the key cannot have
	codeDoor       = "GH203" // an admin listener that strangers could use
	codeMany       = "GH204" // more problems than are told at once
	codeFault      = "GH299" // a fault of gatehouse itself
)

// configCheck finds what is wrong with a configuration whose form is right.
type configCheck struct {
	*Config
	at       rules.Positions
	problems []rules.Problem
}

func (c *configCheck) report(path, code, message, fix, why string) {
	c.problems = append(c.problems, c.at.Problem(path, rules.Error, code, message, fix, why))
}

func (c *configCheck) run() {
	c.values()
	c.door()
}

func (c *configCheck) values() {
	c.oneOf("pac.otherwise", c.PAC.Otherwise, "proxy", "direct")
	if len(c.Listen.PAC) > 0 && len(c.Listen.Proxy) == 0 {
		c.report("listen.pac", codeSetting, "there is no proxy that the file could name", `proxy = ["10.20.0.1:3128"]`, "the file tells programs where the proxy is")
	}
	c.nameplate()
	c.wall()
	c.parents()
	c.alarms()
	c.syslog()
	c.oneOf("azure.fetch", c.Azure.Fetch, "off", "weekly")
	c.oneOf("log.format", c.Log.Format, "json", "squid")
	if c.Log.Decisions == "" {
		c.report("log.decisions", codeSetting, "decisions has no destination", `decisions = "stdout"`, "every decision is written down")
	}
	if c.State.Dir == "" {
		c.report("state.dir", codeSetting, "dir is empty", `dir = "/var/lib/gatehouse"`, "the last good rules file and the command socket need a place")
	}
	if c.Inspection.Dir == "" {
		c.report("inspection.dir", codeSetting, "dir is empty", `dir = "ca"`, "the inspection CA needs a folder of its own")
	}
	if _, err := c.Roots(); err != nil {
		c.report("tls.ca_file", codeSetting, err.Error(), "name a file with certificates in PEM (-----BEGIN CERTIFICATE-----), or leave the key out",
			"where the gate looks inside TLS, what is not trusted here is refused")
	}
	for _, n := range []struct {
		path  string
		value int
		least int
	}{
		{"dns.cache_mib", c.DNS.CacheMiB, 0}, {"log.days", c.Log.Days, 0}, {"log.mib", c.Log.MiB, 0},
		{"limits.connections", c.Limits.Connections, 1}, {"limits.per_client", c.Limits.PerClient, 1},
		{"limits.header_bytes", c.Limits.HeaderBytes, 1024}, {"limits.publish_rate", c.Limits.PublishRate, 1},
	} {
		if n.value < n.least {
			c.report(n.path, codeSetting, fmt.Sprintf("%d is too small", n.value),
				fmt.Sprintf("%s = %d, or more", leaf(n.path), n.least), "")
		}
	}
	for i, h := range c.DNS.Hosts {
		if h.Name.Host.IsZero() || len(h.Addresses) == 0 {
			c.report(fmt.Sprintf("dns.host[%d]", i), codeSetting, "the table needs name and addresses", `name = "www.example.org"`+"\n"+`addresses = ["192.0.2.7"]`, "")
		}
	}
	for i, f := range c.DNS.Forwards {
		if f.Zone.Host.IsZero() || len(f.Servers) == 0 {
			c.report(fmt.Sprintf("dns.forward[%d]", i), codeSetting, "the table needs zone and servers", `zone = "school.local"`+"\n"+`servers = ["10.0.0.10"]`, "")
		}
	}
}

// wall checks what the firewall's ruleset is made from.
func (c *configCheck) wall() {
	for _, name := range c.Firewall.LAN {
		if slices.Contains(c.Firewall.WAN, name) {
			c.report("firewall.wan", codeSetting, fmt.Sprintf("%q is in lan as well", name), "name each interface in one of the two", "what comes from the Internet is no client")
		}
	}
	loopback := func(list []Address) bool {
		return len(list) > 0 && !slices.ContainsFunc(list, func(a Address) bool { return !a.Loopback() })
	}
	if c.Firewall.Manage && loopback(c.Listen.Gateway) && len(c.Listen.GatewayFrom) == 0 {
		c.report("listen.gateway", codeSetting, "redirected connections never reach a loopback address", `gateway = [":3129"]`, "the kernel turns them to an address of the interface they came in by")
	}
	if len(c.Listen.GatewayFrom) > 0 && len(c.Listen.Gateway) == 0 {
		c.report("listen.gateway_from", codeSetting, "there is no listen.gateway that they could come to", `gateway = [":3129"]`, "")
	}
}

func (c *configCheck) oneOf(path, value string, words ...string) {
	for _, w := range words {
		if value == w {
			return
		}
	}
	c.report(path, codeSetting, fmt.Sprintf("%q is none of the values this key has: %s", value, strings.Join(words, ", ")),
		fmt.Sprintf("%s = %q", leaf(path), words[0]), "a word that nobody knows would have to be guessed")
}

// leaf is the last key of a path.
func leaf(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }

// door refuses an admin listener that others than this machine could reach
// without login and TLS: who reaches it can see who goes where.
func (c *configCheck) door() {
	if c.Listen.Admin.Port() == 0 && !c.Listen.Admin.IsValid() {
		c.report("listen.admin", codeSetting, "admin has no address", `admin = "127.0.0.1:9080"`, "")
		return
	}
	web := webConfig(c.Listen.WebConfig)
	if web == "" {
		if !c.Listen.Admin.Loopback() {
			c.report("listen.admin", codeDoor, "the admin listener can be reached from other machines, without login and TLS",
				`admin = "127.0.0.1:9080", or name a web configuration with TLS and login in web_config`,
				"whoever reaches it sees every decision and can reload the rules; metrics alone can be offered by listen.metrics")
		}
		return
	}
	if err := web.check(!c.Listen.Admin.Loopback()); err != nil {
		c.report("listen.web_config", codeDoor, err.Error(), "see docs/operations.md, \"The admin listener\"", "it guards the admin listener")
	}
}

// nameplate checks that DNS over TLS has a certificate to show. What is in the files
// is the running gate's to say, which serves all else without them.
func (c *configCheck) nameplate() {
	switch n := len(c.DNS.Certificate); {
	case n > 2:
		c.report("dns.certificate", codeSetting, fmt.Sprintf("certificate has %d files", n), `certificate = ["dns.pem", "dns.key"]`,
			"one file holds the certificate, those it was signed by, and its key; or the key has a file of its own, the second")
	case n == 0 && len(c.Listen.DNSTLS) > 0:
		c.report("listen.dns_tls", codeSetting, "there is no certificate that it could show", "name it in certificate of [dns], like "+`certificate = "dns.pem"`,
			"a client of DNS over TLS wants to know whom it asks")
	case n > 0 && len(c.Listen.DNSTLS) == 0:
		c.report("dns.certificate", codeSetting, "there is no listener that would show it", `dns_tls = ["10.20.0.1:853"]`+", below [listen]", "")
	}
}
