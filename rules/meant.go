package rules

import (
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"gatehouse/policy"
)

// What people write who come from firewalls, other proxies or regular
// expressions, and what it is called here. None of it is read silently: it is
// told of, with the line as it should read.

// otherNames are keys and tables of other programs.
var otherNames = map[string][]string{
	"rule": {"allow"}, "permit": {"allow"}, "accept": {"allow"}, "allowlist": {"allow"}, "whitelist": {"allow"},
	"block": {"deny"}, "drop": {"deny"}, "reject": {"deny"}, "blocklist": {"deny"}, "blacklist": {"deny"}, "forbid": {"deny"},
	"group": {"client"}, "comment": {"because"}, "description": {"because"}, "reason": {"because"}, "note": {"because"},
	"domain": {"hosts"}, "domains": {"hosts"}, "url": {"hosts"}, "urls": {"hosts"}, "site": {"hosts"}, "sites": {"hosts"}, "destination": {"hosts"},
	"source": {"clients", "from"}, "src": {"clients", "from"}, "ip": {"from"}, "ips": {"from"}, "network": {"from"}, "networks": {"from"},
	"expires": {"until"}, "expiry": {"until"}, "mime": {"types"}, "content_types": {"types"}, "verbs": {"methods"},
}

// meantKey is the known key that another one was probably meant to be: one that
// is spelt nearly so, or that says the same in other programs.
func meantKey(name string, known []string) (string, bool) {
	if near, ok := closest(name, known); ok {
		return near, true
	}
	for _, other := range otherNames[strings.ToLower(name)] {
		if slices.Contains(known, other) {
			return other, true
		}
	}
	return "", false
}

// everything are words for all there is; the language has them nowhere but in
// clients.
var everything = []string{"any", "all", "*", "everything", "everyone"}

func meansAll(s string) bool { return slices.Contains(everything, strings.ToLower(s)) }

// items writes texts as items of the list that a text stands in, or as a list
// where it stands alone.
func (d *document) items(t text, words ...string) string {
	quoted := make([]string, 0, len(words))
	for _, w := range words {
		quoted = append(quoted, quote(w))
	}
	list := strings.Join(quoted, ", ")
	if before := strings.TrimRight(d.text[:t.at().start], " \t"); strings.HasSuffix(before, "=") && len(words) > 1 {
		list = "[" + list + "]"
	}
	return d.replaced(t.at(), list)
}

// hostsMeant are the hosts that a text was probably meant to list, and what is
// wrong with it; none where nobody can tell.
func hostsMeant(s string) (hosts []string, message string) {
	apart := func(r rune) bool { return strings.ContainsRune(" ,;\t", r) }
	_, afterAt, email := strings.Cut(s, "@")
	switch regular := fromRegular(s); {
	case meansAll(s):
		return nil, "there is no word for every host; list the names"
	case strings.ContainsFunc(s, apart):
		hosts, message = strings.FieldsFunc(s, apart), "several hosts stand in one text; each has quotes of its own"
	case strings.HasPrefix(s, ".") && !strings.Contains(s, "*") && !strings.Contains(s, `\`):
		hosts, message = []string{"*" + s}, "a host begins with a dot; the names below another are written with a star"
	case regular != s:
		hosts, message = []string{regular}, "hosts are no regular expressions: a star stands for any name, and a dot for itself"
	case email:
		hosts, message = []string{afterAt}, "a host is a name without a user"
	}
	for _, h := range hosts {
		if _, err := policy.ParseHostPattern(h); err != nil {
			return nil, message
		}
	}
	return hosts, message
}

// fromRegular writes a simple regular expression as a pattern.
func fromRegular(s string) string {
	if !regularSigns.MatchString(s) {
		return s
	}
	return strings.NewReplacer(`\.`, ".", ".*", "*", ".+", "*", "(", "", ")", "").Replace(strings.TrimSuffix(strings.TrimPrefix(s, "^"), "$"))
}

var (
	regularSigns   = regexp.MustCompile(`^\^|^\.[*+]|\$$|\\\.|[()]`)
	starredAddress = regexp.MustCompile(`^(\d{1,3})\.(\d{1,3}|\*)\.(\d{1,3}|\*)\.\*$`)
	addressRange   = regexp.MustCompile(`^\d{1,3}(\.\d{1,3}){3}\s*-\s*[\d.]+$`)
)

// networkMeant is the network that a text was probably meant to name, and what
// is wrong with it; the message is empty where it looks like no network at all.
func networkMeant(s string) (network, message string) {
	address, mask, masked := strings.Cut(s, "/")
	switch bits, ok := maskBits(mask); {
	case masked && ok:
		a, err := netip.ParseAddr(address)
		if err != nil {
			return "", ""
		}
		return netip.PrefixFrom(a, bits).Masked().String(), "a network is written with the number of its bits"
	case starredAddress.MatchString(s):
		bits := 8 * (4 - strings.Count(s, "*"))
		p, err := netip.ParsePrefix(strings.ReplaceAll(s, "*", "0") + "/" + []string{"0", "8", "16", "24"}[bits/8])
		if err != nil {
			return "", ""
		}
		return p.Masked().String(), "a network is written with the number of its bits"
	case addressRange.MatchString(s):
		return "", "a range of addresses is written as a network, like 10.20.0.0/28, or address by address"
	}
	return "", ""
}

// maskBits reads a mask like 255.255.0.0.
func maskBits(s string) (int, bool) {
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() {
		return 0, false
	}
	ones, bits := net.IPMask(a.AsSlice()).Size()
	return ones, bits == 32
}

// addressMeant is the word of an addresses clause that a text was probably meant
// to be.
func (c *compiler) addressMeant(s string) (string, bool) {
	word := strings.ReplaceAll(strings.ToLower(strings.TrimSpace(s)), " ", "")
	if word == "northeurope" || meansAll(word) || word == "internet" {
		return map[bool]string{true: "northeurope", false: "public"}[word == "northeurope"], true
	}
	if c.env.Tags == nil {
		return "", false
	}
	for _, tag := range []string{s, "AzureCloud." + word} {
		if list, ok := c.env.Tags.Prefixes(strings.TrimSpace(tag)); ok && len(list) > 0 {
			return "azure:" + strings.TrimSpace(tag), true
		}
	}
	return "", false
}

var portNames = map[string]string{"http": "80", "https": "443", "tls": "443", "amqps": "5671", "any": `"1-65535"`, "all": `"1-65535"`, "*": `"1-65535"`}

// portsMeant are the items that a text in ports was probably meant to be.
func portsMeant(s string) string {
	s = strings.TrimSpace(s)
	if known, ok := portNames[strings.ToLower(s)]; ok {
		return known
	}
	if low, high, ok := strings.Cut(s, "-"); ok {
		if _, ok := parsePorts(high + "-" + low); ok {
			return quote(strings.TrimSpace(high) + "-" + strings.TrimSpace(low))
		}
	}
	if r := strings.NewReplacer(":", "-", "..", "-", "–", "-").Replace(s); r != s {
		if _, ok := parsePorts(r); ok {
			return quote(r)
		}
	}
	var all []string
	for _, part := range strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(",; /", r) }) {
		if _, ok := parsePorts(part); !ok {
			return ""
		}
		if strings.Contains(part, "-") {
			part = quote(part)
		}
		all = append(all, part)
	}
	return strings.Join(all, ", ")
}

// typesOf are the media types of files that people name by their endings.
var typesOf = map[string]string{
	"pdf": "application/pdf", "html": "text/html", "htm": "text/html", "json": "application/json", "csv": "text/csv",
	"txt": "text/plain", "text": "text/plain", "xml": "application/xml", "zip": "application/zip", "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg",
}

// targetMeant is the line of a test that another was probably meant to be.
func targetMeant(s string) (string, bool) {
	words := strings.Fields(s)
	if len(words) == 0 {
		return "", false
	}
	words[0] = strings.ToUpper(words[0])
	for i, w := range words {
		words[i] = map[string]string{"=>": "->", "<=": "<-", "→": "->", "←": "<-", "==": "="}[w]
		if words[i] == "" {
			words[i] = w
		}
	}
	tries := []string{strings.Join(words, " ")}
	if len(words) > 1 {
		scheme, bare, isURL := strings.Cut(words[1], "://")
		if !isURL {
			bare = words[1]
		}
		bare, _, _ = strings.Cut(bare, "/")
		port := ":443"
		if isURL && scheme == "http" {
			port = ":80"
		}
		if words[0] == "CONNECT" {
			tries = append(tries, "CONNECT "+bare, "CONNECT "+bare+port)
		} else if words[0] != "DNS" {
			tries = append(tries, strings.Join(append([]string{words[0], "https://" + words[1]}, words[2:]...), " "))
		}
	}
	for _, try := range tries {
		if _, err := ParseTarget(try); err == nil {
			return try, true
		}
	}
	return "", false
}
