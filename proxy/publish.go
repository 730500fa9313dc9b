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
	for _, c := range s.clients {
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
	case e.server.circles(h):
		return refusalFor(policy.Verdict{Reason: policy.Loop, Rule: v.Rule, Protocol: v.Protocol})
	}
	return nil
}

// overriding are the methods that fields ask for in place of the request's own, in
// the spellings that frameworks heed. The server may do so: they must be permitted
// as well.
func overriding(f *http1.Fields) (methods []string) {
	for i := range f.Len() {
		name, value := f.Line(i)
		switch variable(name) {
		case "X_HTTP_METHOD_OVERRIDE", "X_HTTP_METHOD", "X_METHOD_OVERRIDE":
			methods = append(methods, strings.ToUpper(strings.TrimSpace(string(value))))
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

// variable is a field's name as those servers see it that hand fields on as variables:
// RFC 3875, section 4.1.18, makes one of "-" and "_", and some make one of all that is
// neither letter nor digit.
func variable(name []byte) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z':
			return r - 'a' + 'A'
		case 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
			return r
		}
		return '_'
	}, string(name))
}

// invented are the fields by which proxies tell servers who asks, for what, and how it
// came, as variables. Whatever a client says in them is its own invention: the gate says
// what it knows. The last ones have servers serve another path than the one that was
// judged, or go through another proxy. All of X-Forwarded-* and X-Original-* are of them.
var invented = map[string]bool{
	variable([]byte(ownField)): true, "FORWARDED": true, "X_FORWARDED": true, "FORWARDED_FOR": true, "FRONT_END_HTTPS": true,
	"X_REAL_IP": true, "X_CLIENT_IP": true, "X_CLUSTER_CLIENT_IP": true, "TRUE_CLIENT_IP": true, "CF_CONNECTING_IP": true,
	"X_ORIGINATING_IP": true, "X_REMOTE_IP": true, "X_REMOTE_ADDR": true, "X_REMOTE_USER": true, "X_PROXYUSER_IP": true,
	"X_MS_FORWARDED_CLIENT_IP": true, "X_AZURE_CLIENTIP": true, "X_ARR_CLIENTCERT": true, "X_SSL_CLIENT_CERT": true,
	"X_HOST": true, "X_URL_SCHEME": true, "X_REWRITE_URL": true, "PROXY": true,
}

// hearsay are the names of the invented fields in a head, as they are spelt there.
func hearsay(f *http1.Fields) (names []string) {
	for i := range f.Len() {
		name, _ := f.Line(i)
		v := variable(name)
		if invented[v] || strings.HasPrefix(v, "X_FORWARDED_") || strings.HasPrefix(v, "X_ORIGINAL_") {
			names = append(names, string(name))
		}
	}
	return names
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
	c.Drop = hearsay(&e.head.Fields)
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

// logsInConnection looks at the start of each member of the fields of a name, for a list
// of challenges may be in one (RFC 9110, section 11.6.1). A comma inside a quoted string
// costs no more than a connection.
func logsInConnection(f *http1.Fields, name string) bool {
	for i := range f.Len() {
		n, value := f.Line(i)
		if len(n) != len(name) || !strings.EqualFold(string(n), name) {
			continue
		}
		for member := range strings.SplitSeq(string(value), ",") {
			scheme := strings.TrimLeft(member, " \t")
			if end := strings.IndexAny(scheme, " \t"); end >= 0 {
				scheme = scheme[:end]
			}
			if strings.EqualFold(scheme, "NTLM") || strings.EqualFold(scheme, "Negotiate") {
				return true
			}
		}
	}
	return false
}
