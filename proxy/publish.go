package proxy

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"strings"

	"gatehouse/internal/flow"
	"gatehouse/internal/http1"
	"gatehouse/policy"
)

// Entrance is a published door: what comes through it is for the server of one
// publication, and for no other. It must not be changed while it is served.
type Entrance struct {
	Name string // of the publication
	// TLS is spoken with the clients; nil: plain HTTP.
	TLS *tls.Config
}

// ServePublish takes requests for a publication from ln, as Serve takes those of the
// proxy port. When it has returned and its clients are to go too, call Evict.
func (s *Server) ServePublish(ctx context.Context, ln net.Listener, door *Entrance) error {
	return s.take(ctx, ln, func(conn net.Conn) {
		if door.TLS != nil {
			conn = tls.Server(conn, door.TLS)
		}
		c := newClientConn(s, conn)
		c.entrance, c.passage.entrance = door, door
		s.accept(c)
	})
}

// Evict ends what came through a door that has been closed: open requests are broken
// off, and connections without one are closed.
func (s *Server) Evict(door *Entrance) {
	s.breakOff(func(p *passage) func() {
		if p.entrance != door {
			return nil
		}
		return p.stop("policy")
	})
	s.mu.Lock()
	var left []*clientConn
	for c := range s.clients {
		if c.entrance == door {
			left = append(left, c)
		}
	}
	s.mu.Unlock()
	for _, c := range left {
		c.reset()
	}
}

// veiled reports whether a published door speaks TLS with the client.
func (c *clientConn) veiled() bool { return c.entrance != nil && c.entrance.TLS != nil }

// admitPublished asks the policy about what came to a published door. Logins are for
// the proxy: a device shows the server behind the door who uses it.
func (e *exchange) admitPublished(f *flaw) *refusal {
	door := e.client.entrance
	e.published = e.policy.Publication(door.Name)
	if f == nil {
		f = e.readPublishedTarget()
	}
	if e.published != nil {
		e.dest = e.published.To
	}
	e.describe()
	e.passage.note(func(r *flow.Record) { r.Publish = door.Name })
	v := e.policy.Client(e.client.addr, e.now)
	switch {
	case !v.Allowed():
		return refusalFor(v) // a stranger learns nothing, not even what it did wrong
	case !e.server.rates.mayAsk(e.client.addr, e.now):
		r := refusalFor(policy.Verdict{Reason: policy.Limit})
		r.why = "Too many requests came from here in a short time."
		return r
	case f != nil:
		return refusalOf(f)
	}
	return e.judgePublished()
}

func (e *exchange) judgePublished() *refusal {
	h := e.head
	q := policy.Published{
		At: e.now, Client: e.client.addr, Name: e.client.entrance.Name, Method: h.method, Path: policy.NewPath(h.path),
		Body: h.hasBody(), Octets: h.Body.Length, Upgrade: h.asksUpgrade(),
	}
	if q.Body {
		q.Upload = contentType(&h.Fields)
	}
	v, permit := e.policy.Published(q)
	for _, method := range overriding(&h.Fields) {
		if !v.Allowed() {
			break
		}
		q.Method = method
		if v, permit = e.policy.Published(q); !v.Allowed() {
			e.settle(v, &permit)
			r := refusalFor(v)
			r.why = "A field of the request asks for another method, which is not permitted."
			return r
		}
	}
	e.settle(v, &permit)
	switch {
	case !v.Allowed():
		return refusalOfBody(v)
	case h.PassedThrough(e.server.pseudonym):
		return refusalFor(policy.Verdict{Reason: policy.Loop, Rule: v.Rule, Protocol: v.Protocol})
	}
	return nil
}

// overriding are the methods that fields ask for in place of the request's own, in
// the spellings that frameworks heed. The server may do so: they must be permitted
// as well.
func overriding(f *http1.Fields) (methods []string) {
	for _, name := range []string{"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"} {
		for _, value := range values(f, name) {
			methods = append(methods, strings.ToUpper(strings.TrimSpace(value)))
		}
	}
	return methods
}

// readPublishedTarget reads a target as a server does (RFC 9112, section 3.2). The
// gate does not know all names by which it is reached, so an absolute target is taken
// only where it names this very door, and anybody else's is no way out.
func (e *exchange) readPublishedTarget() *flaw {
	h := e.head
	switch t := &h.Target; {
	case t.Form == http1.AuthorityForm:
		return bad("This is a server and no proxy: it opens no tunnels.")
	case t.Form == http1.AbsoluteForm && (h.HostMismatch || !e.isDoor(t)):
		return &flaw{why: "The request names another server than this one.", reason: policy.HostMismatch}
	}
	h.path = h.originForm()
	if h.Host.Host == nil {
		return nil // HTTP/1.0 knows no Host
	}
	host, err := h.named.parse(h.Host.Host)
	if err != nil {
		return bad("The Host field names no valid host.")
	}
	// The server is asked as the client asked: what it says of itself then holds for
	// the client too.
	h.Target.Authority = http1.Authority{Host: h.named.spell(host), Port: h.Host.Port}
	if sni := e.sni(); sni != "" && !host.IsIP() && !strings.EqualFold(strings.TrimSuffix(sni, "."), host.Name()) {
		return misdirected("The request names another host than its TLS.")
	}
	return nil
}

// isDoor reports whether an absolute target names the door it came to: by the address
// that was connected to, or by the name that TLS was opened for.
func (e *exchange) isDoor(t *http1.Target) bool {
	scheme, veiled := "http", e.client.veiled()
	if veiled {
		scheme = "https"
	}
	local, ok := e.client.conn.LocalAddr().(*net.TCPAddr)
	dest, valid := e.head.named.destOf(t.Authority, usualPort(veiled))
	if !ok || !valid || !strings.EqualFold(string(t.Scheme), scheme) {
		return false
	}
	here := unmapped(local.AddrPort())
	if dest.Host.IsIP() {
		return dest.Host.Addr() == here.Addr() && dest.Port == here.Port()
	}
	return strings.EqualFold(e.sni(), dest.Host.Name())
}

// sni is the server name that the client's TLS was opened for, empty without one.
func (e *exchange) sni() string {
	if secure, ok := e.client.conn.(*tls.Conn); ok {
		return secure.ConnectionState().ServerName
	}
	return ""
}

// named is the destination as a refusal may name it. What is behind a published door
// is nobody's business.
func (e *exchange) named() policy.Dest {
	if e.client.entrance != nil {
		return policy.Dest{}
	}
	return e.dest
}

// judgesSize has a published request's body judged when it turns out too large.
func (u *upload) judgesSize(e *exchange) {
	if e.published == nil {
		return
	}
	u.most = e.published.MaxBody
	u.tooMuch = func(octets int64) error {
		v := e.passage.narrow(func(newest policy.Permit) (policy.Verdict, policy.Permit) {
			return e.policy.Body(policy.Body{At: e.server.deps.Now(), Permit: newest, Octets: octets})
		})
		if v.Allowed() { // only a fault in the policy would say so
			v = policy.Verdict{}
		}
		u.judged.Store(&v)
		return &uploadRefused{v}
	}
}

// hearsay are the fields by which proxies tell servers who asks, for what, and how
// it came. Whatever a client says in them is its own invention: the gate says what it
// knows. The last ones have servers serve another path than the one that was judged,
// or go through another proxy.
var hearsay = []string{
	ownField, "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Server",
	"X-Forwarded-Prefix", "X-Forwarded-Scheme", "X-Forwarded-Ssl", "X-Forwarded-By", "X-Forwarded", "Forwarded-For", "Front-End-Https",
	"X-Real-IP", "X-Client-IP", "X-Cluster-Client-IP", "True-Client-IP", "X-Originating-IP", "X-Remote-IP", "X-Remote-Addr", "X-Remote-User",
	"X-Host", "X-Original-Host", "X-Url-Scheme", "X-Original-URL", "X-Rewrite-URL", "Proxy",
}

// forwarded replaces what the client said of its way by what the gate knows of it (RFC
// 7239, and the fields that were usual before).
func (e *exchange) forwarded(c *http1.Changes) {
	if e.published == nil {
		return
	}
	proto, host := "http", e.head.Authority()
	if e.client.veiled() {
		proto = "https"
	}
	client := e.client.addr.String()
	node := client
	if e.client.addr.Is6() {
		node = `"[` + client + `]"`
	}
	c.Drop = hearsay
	for _, f := range [...]struct{ name, value string }{
		{"X-Forwarded-For", client}, {"X-Forwarded-Host", string(host.Append(nil))}, {"X-Forwarded-Proto", proto},
		{"Forwarded", "for=" + node + `;host="` + string(host.Append(nil)) + `";proto=` + proto},
	} {
		if field, err := http1.NewField(f.name, f.value); err == nil {
			c.Set = append(c.Set, field)
		}
	}
}

var publishedOwnFields = append([]string{"Alt-Svc"}, ownFields...)

// withheld are the fields of an answer that are not passed on. Behind a published door
// that is also where else the server can be reached: there the gate is not.
func (e *exchange) withheld() []string {
	if e.published != nil {
		return publishedOwnFields
	}
	return ownFields
}

// bound reports whether a connection to an origin may be one user's for good: NTLM and
// Negotiate log in the connection and not the request, and the next one on it may be
// somebody else's.
func (e *exchange) bound(l *link) bool {
	return logsInConnection(&e.head.Fields, "Authorization") ||
		l.answer.Status == http.StatusUnauthorized && logsInConnection(&l.answer.Fields, "WWW-Authenticate")
}

func logsInConnection(f *http1.Fields, name string) bool {
	for i := range f.Len() {
		n, value := f.Line(i)
		if len(n) != len(name) || !strings.EqualFold(string(n), name) {
			continue
		}
		scheme, _, _ := strings.Cut(string(value), " ")
		if strings.EqualFold(scheme, "NTLM") || strings.EqualFold(scheme, "Negotiate") {
			return true
		}
	}
	return false
}
