package proxy

import (
	"bytes"
	"net/http"

	"gatehouse/internal/http1"
	"gatehouse/policy"
)

// readTarget finds out where a request on the proxy port wants to go (RFC 9112,
// section 3.2): authority-form for CONNECT, else absolute-form with http.
func (h *requestHead) readTarget() (policy.Dest, *flaw) {
	if h.Target.Form == http1.AuthorityForm {
		dest, ok := h.named.destOf(h.Target.Authority, 0)
		if !ok {
			return policy.Dest{}, bad("The CONNECT request names no valid host.")
		}
		return dest, nil // its Host field is ignored: old clients send none
	}
	dest, f := h.absolute(false)
	switch {
	case f != nil:
		return dest, f
	case h.HostMismatch:
		return dest, &flaw{why: "The Host field names another host than the request target.", reason: policy.HostMismatch}
	}
	return dest, nil
}

// absolute takes a target in absolute form apart. secure says that it came inside
// TLS: then its scheme is https, else http.
func (h *requestHead) absolute(secure bool) (policy.Dest, *flaw) {
	t := &h.Target
	https := bytes.EqualFold(t.Scheme, []byte("https"))
	switch {
	case t.Form != http1.AbsoluteForm:
		return policy.Dest{}, bad("This is a proxy: it is asked with a whole URL, such as http://www.example.org/.")
	case https && !secure:
		return policy.Dest{}, bad("An https address is reached through a proxy with CONNECT.")
	case !https && !bytes.EqualFold(t.Scheme, []byte("http")):
		return policy.Dest{}, bad("This proxy carries http, and through CONNECT https; nothing else.")
	case !https && secure:
		return policy.Dest{}, misdirected("The request came through TLS and names an http address, which is another origin.")
	}
	dest, ok := h.named.destOf(t.Authority, usualPort(secure))
	if !ok {
		return policy.Dest{}, bad("The request target names no valid host and port.")
	}
	h.path = h.originForm()
	return dest, nil
}

// originForm is path and query as an origin is asked for them. Who polls asks for the
// same again.
func (h *requestHead) originForm() string {
	t := &h.Target
	switch {
	case len(t.Path) > 0 && t.Query == nil && h.last == string(t.Path):
		return h.last
	case len(t.Path) > 0 && t.Query == nil:
		return string(t.Path)
	case len(t.Path) > 0:
		return string(t.Path) + "?" + string(t.Query)
	case t.Query != nil:
		return "/?" + string(t.Query)
	case h.method == http.MethodOptions:
		return "*" // RFC 9112, section 3.2.4: the last proxy asks for the server as such
	}
	return "/"
}

// readPinnedTarget reads a target inside a tunnel, where the authority is the
// tunnel's: the request may repeat it and may not name another, neither in its
// target nor in its Host field.
func (h *requestHead) readPinnedTarget(pinned policy.Dest, secure bool) (policy.Dest, *flaw) {
	mismatch := misdirected("The request names another host than the tunnel it came through.")
	if h.Target.Form == http1.AuthorityForm {
		return pinned, bad("A tunnel cannot be opened inside a tunnel.")
	}
	if h.Host.Host != nil {
		if host, ok := h.named.destOf(h.Host, pinned.Port); !ok || host != pinned {
			return pinned, mismatch
		}
	}
	if h.Target.Form != http1.AbsoluteForm {
		h.path = h.originForm()
		return pinned, nil
	}
	dest, f := h.absolute(secure)
	switch {
	case f != nil:
		return pinned, f
	case dest != pinned:
		return pinned, mismatch
	}
	return pinned, nil
}

// misdirected is what is wrong with a request that is for another origin than the
// tunnel's (RFC 9110, section 7.4).
func misdirected(why string) *flaw {
	return &flaw{why: why, status: http.StatusMisdirectedRequest, reason: policy.HostMismatch}
}

// destOf is the destination an authority names; dflt is the port of one that
// states none.
func (n *naming) destOf(a http1.Authority, dflt uint16) (policy.Dest, bool) {
	port := a.Port
	if port == 0 {
		port = dflt
	}
	host, err := n.parse(a.Host)
	return policy.Dest{Host: host, Port: port}, err == nil && port != 0
}
