package rules

import (
	"golang.org/x/net/publicsuffix"

	"gatehouse/policy"
	"gatehouse/rules/scan"
)

// warn finds what may be loaded and is probably not meant.
func (c *compiler) warn(l *Loaded) {
	c.warnEach()
	c.warnUnenforced(l.Unenforced)
	for _, e := range c.entries {
		if e.table == nil {
			continue
		}
		c.warnNoPath(e)
		if e.Deny {
			c.warnDeny(e)
		}
	}
	c.warnApex()
	c.warnLookAlikes()
	c.warnDenies()
	c.warnTypes()
}

// warnEach tells what can be said of each rule without the others, and so holds
// whatever else is wrong with the file.
func (c *compiler) warnEach() {
	c.warnMode()
	for _, e := range c.entries {
		if e.table == nil {
			continue
		}
		c.warnDay(e)
		c.warnWide(e)
	}
}

func (c *compiler) warnMode() {
	if c.spec.Mode != policy.Monitor {
		return
	}
	at := c.file.Mode.at()
	if end := c.spec.MonitorUntil; !end.IsZero() && !c.env.Now.Before(end) {
		c.doc.report(codeExpired, c.file.MonitorUntil.at(), "mode = \"enforce\"", "monitor mode ended on %s; the rules are enforced", end.Add(-1).Format("2006-01-02"))
		return
	}
	if !c.spec.MonitorUntil.IsZero() {
		c.doc.report(codeMonitor, at, "mode = \"enforce\"", "monitor mode until %s: nothing is refused by the rules", c.spec.MonitorUntil.Format("2006-01-02 15:04"))
		return
	}
	c.doc.report(codeMonitor, at, "mode = \"enforce\"", "monitor mode: nothing is refused by the rules")
	c.doc.report(codeNoEnd, at, "monitor_until = "+c.env.Now.AddDate(0, 0, 28).Format("2006-01-02"), "monitor mode has no end")
}

// warnDay tells of rules whose day has passed or is near, and of denies that
// open on their day.
func (c *compiler) warnDay(e *entry) {
	if e.Until.IsZero() {
		return
	}
	at := e.clause(func(t *ruleTable) *scan.Node { return t.Until.Node })
	if e.Deny {
		c.doc.report(codeDenyEnds, at, "", "this deny ends: after %s what it refuses is open to the allows", last(e))
	}
	switch left := e.Until.Sub(c.env.Now); {
	case left <= 0:
		c.doc.report(codeExpired, at, "", "the rule ended on %s", last(e))
	case left <= daysBefore:
		c.doc.report(codeExpiring, at, "", "the rule ends on %s", last(e))
	}
}

// last is the last moment of a rule, told as its day.
func last(e *entry) string { return e.Until.Add(-1).Format("2006-01-02") }

// sharedSuffixes are suffixes of clouds below which anybody can rent a name,
// beside those of the public suffix list's private section.
var sharedSuffixes = map[string]bool{
	"servicebus.windows.net": true, "windows.net": true, "core.windows.net": true, "blob.core.windows.net": true,
	"file.core.windows.net": true, "queue.core.windows.net": true, "table.core.windows.net": true,
	"database.windows.net": true, "azure.com": true, "cloudapp.azure.com": true, "cloudapp.net": true,
	"azurewebsites.net": true, "azureedge.net": true, "azurefd.net": true, "trafficmanager.net": true,
	"amazonaws.com": true, "s3.amazonaws.com": true, "cloudfront.net": true, "googleapis.com": true,
	"storage.googleapis.com": true, "googleusercontent.com": true, "appspot.com": true, "akamaihd.net": true,
	"akamaized.net": true, "fastly.net": true, "b-cdn.net": true, "sharepoint.com": true, "office.net": true,
}

func (c *compiler) warnWide(e *entry) {
	if e.Deny {
		return
	}
	for i, h := range e.Hosts {
		suffix, ok := h.Suffix()
		if !ok {
			continue
		}
		if public, icann := publicsuffix.PublicSuffix(suffix); sharedSuffixes[suffix] || !icann && public == suffix && dotted(suffix) {
			c.doc.report(codeSharedSuffix, e.hostSpan(i), "", "%s permits names of strangers: anybody can rent one below %s", h, suffix)
		}
	}
}

// warnDeny tells of denies that refuse more than they name.
func (c *compiler) warnDeny(e *entry) {
	inner := e.Inner()
	if len(inner) == 0 || c.env.Inspection || e.Protocol != policy.ProtocolUnknown && e.Protocol != policy.TLS {
		return
	}
	tls := []policy.PortRange{{First: 443, Last: 443}, {First: 5671, Last: 5671}}
	if len(e.Ports) > 0 && portMet(e.Ports, tls) == 0 && e.Protocol == policy.ProtocolUnknown {
		return
	}
	c.doc.report(codeDenyTunnel, e.clause(clauseNode(inner[0])), "",
		"TLS is not inspected here, so this deny refuses every tunnel to its hosts, whatever its %s", inner[0])
}
