package rules

import (
	"cmp"
	"math"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"gatehouse/policy"
	"gatehouse/rules/scan"
)

// Publish is a [[publish]]: what the policy judges by, and where the clients come.
type Publish struct {
	*policy.Publication
	// Listen are the addresses of this machine that clients come to. Port 0 lets
	// the system choose.
	Listen []netip.AddrPort
	// TLS is what the clients are shown; nil: they come in plain HTTP.
	TLS *TLSFiles
}

// TLSFiles are a certificate chain and its private key, both in PEM form. They may
// be one file.
type TLSFiles struct{ Chain, Key string }

// Door is a listener of the appliance.
type Door struct {
	Key string // of gatehouse.toml, like listen.proxy
	At  netip.AddrPort
}

// Publications, as they are where the file says nothing: what the vendor's page
// asks of the way in, and room for any document a device may send.
var (
	usualMethods = []string{"GET", "POST", "PUT"}
	usualMaxBody = int64(64 << 20)
)

// publishing is a [[publish]] and where it stands.
type publishing struct {
	Publish
	table *publishTable
}

// published are the publishes as the appliance needs them.
func published(list []publishing) []Publish {
	all := make([]Publish, len(list))
	for i := range list {
		all[i] = list[i].Publish
	}
	return all
}

// publishes reads the [[publish]] tables: the only way in.
func (c *compiler) publishes() {
	seen := map[string]bool{}
	for i := range c.file.Publishes {
		t := &c.file.Publishes[i]
		p := c.publish(t)
		if t.Name.stated() && seen[t.Name.value] {
			c.doc.report(codeDuplicate, t.Name.at(), "", "the name %q is taken by another [[publish]]", t.Name.value)
		}
		seen[t.Name.value] = true
		c.published = append(c.published, p)
	}
	c.doorways()
	for i := range c.published {
		p := &c.published[i]
		c.spec.Publications = append(c.spec.Publications, *p.Publication)
	}
}

func (c *compiler) publish(t *publishTable) publishing {
	if c.required(t.table, "name", t.Name.stated()) {
		c.checkName(t.Name)
	}
	pub := &policy.Publication{
		Name: t.Name.value, Clients: c.speaksFor(t.Clients), Methods: c.publishedMethods(t.Methods),
		Paths: c.paths(t.Paths), MaxBody: c.maxBody(t.MaxBody),
	}
	pub.Line, _ = c.doc.place(int(t.node.Start))
	p := publishing{Publish{Publication: pub, TLS: c.tlsFiles(t.TLS)}, t}
	if c.required(t.table, "listen", t.Listen.stated()) && c.notEmpty(t.Listen) {
		for _, l := range t.Listen.items {
			p.Listen = append(p.Listen, c.doorway(l))
		}
	}
	if c.required(t.table, "to", t.To.stated()) {
		pub.To, pub.Secure = c.server(t.To)
	}
	return p
}

// doorway reads where a publish listens; the zero value where that cannot be read.
func (c *compiler) doorway(t text) netip.AddrPort {
	s := strings.TrimSpace(t.value)
	if strings.HasPrefix(s, ":") {
		s = "[::]" + s
	}
	at, err := netip.ParseAddrPort(s)
	if err == nil {
		return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	}
	fix := ""
	if a, err := netip.ParseAddr(s); err == nil {
		fix = c.doc.replaced(t.at(), quote(netip.AddrPortFrom(a, 8080).String()))
	}
	c.doc.report(codeAddress, t.at(), fix, "%q is not an address of this machine with a port, like 10.20.0.1:8443", t.value)
	return netip.AddrPort{}
}

// server reads the server that a publish leads to.
func (c *compiler) server(t text) (to policy.Dest, secure bool) {
	u, err := url.Parse(strings.TrimSpace(t.value))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil ||
		strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		c.doc.report(codeValue, t.at(), c.doc.replaced(t.at(), quote(serverMeant(t.value))), "%q is not the address of a server, like http://10.20.0.5:8080", t.value)
		return policy.Dest{}, false
	}
	host, err := policy.ParseHost(u.Hostname())
	if err != nil {
		c.doc.report(codeHost, t.at(), "", "%v", err)
		return policy.Dest{}, false
	}
	port, err := strconv.ParseUint(cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme]), 10, 16)
	if err != nil || port == 0 {
		c.doc.report(codePort, t.at(), "", "%q is no port", u.Port())
		return policy.Dest{}, false
	}
	return policy.Dest{Host: host, Port: uint16(port)}, u.Scheme == "https"
}

// serverMeant is the address of a server that somebody probably meant.
func serverMeant(s string) string {
	scheme, rest, ok := strings.Cut(strings.TrimSpace(s), "://")
	if !ok {
		scheme, rest = "http", scheme
	}
	authority := rest[:len(rest)-len(strings.TrimLeftFunc(rest, func(r rune) bool { return r != '/' && r != '?' && r != '#' }))]
	authority = authority[strings.LastIndexByte(authority, '@')+1:]
	if u, err := url.Parse("http://" + authority); err != nil || u.Host == "" || strings.ContainsFunc(authority, unicode.IsSpace) {
		authority = "10.20.0.5:8080"
	}
	if scheme != "https" {
		scheme = "http"
	}
	return scheme + "://" + authority
}

// publishedMethods reads methods; absent, they are what the vendor's page asks for.
func (c *compiler) publishedMethods(l list) []string {
	if !l.stated() {
		return slices.Clone(usualMethods)
	}
	for _, t := range l.items {
		if meansAll(t.value) {
			c.doc.report(codeMethod, t.at(), c.doc.items(t, usualMethods...), "a publish names its methods one by one; without the line they are GET, POST and PUT")
			return nil
		}
	}
	return c.methods(l)
}

// tlsFiles reads tls: a PEM file with certificate and key, or a list of two, the
// certificate first. Their paths are taken from the folder of the rules file.
func (c *compiler) tlsFiles(s *scalar) *TLSFiles {
	if s == nil || s.Data == false {
		return nil
	}
	nodes := s.elements()
	var names []string
	for _, n := range nodes {
		if name, ok := n.Data.(string); ok && n.Kind == scan.Leaf && strings.TrimSpace(name) != "" {
			names = append(names, name)
		}
	}
	if len(names) != len(nodes) || len(names) < 1 || len(names) > 2 {
		c.doc.report(codeType, s.at(), c.doc.replaced(s.at(), `"emerge.pem"`),
			"tls names a PEM file with the certificate and its key, or a list of two files, the certificate first")
		return nil
	}
	return &TLSFiles{c.beside(names[0]), c.beside(names[len(names)-1])}
}

// beside is a path that the rules name, from the folder they stand in.
func (c *compiler) beside(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(c.name), path)
}

// units are those of max_body, as Windows counts: a megabyte is 1,048,576 bytes.
var units = map[string]float64{
	"": 1, "b": 1, "k": 1 << 10, "kb": 1 << 10, "kib": 1 << 10, "m": 1 << 20, "mb": 1 << 20, "mib": 1 << 20, "g": 1 << 30, "gb": 1 << 30, "gib": 1 << 30,
}

// maxBody reads how much may be sent with one request.
func (c *compiler) maxBody(s *scalar) int64 {
	if s == nil {
		return usualMaxBody
	}
	switch v := s.Data.(type) {
	case int64:
		if v >= 0 {
			return v
		}
	case string:
		text := strings.ToLower(strings.ReplaceAll(v, " ", ""))
		digits := strings.TrimRight(text, "bgikm")
		n, err := strconv.ParseFloat(digits, 64)
		unit, known := units[text[len(digits):]]
		if size := n * unit; err == nil && known && size >= 0 && size <= math.MaxInt32<<16 {
			return int64(size)
		}
	}
	c.doc.report(codeValue, s.at(), c.doc.replaced(s.at(), `"64 MiB"`), "max_body is a number of bytes, or a text like \"64 MiB\"; 0 takes no body at all")
	return 0
}
