package proxy

import (
	"net/http"
	"strconv"
	"strings"

	"gatehouse/policy"
)

// target is where a request wants to go.
type target struct {
	dest policy.Dest
	// path is path and query as they came, in the form an origin is asked
	// with: origin-form, or "*". Empty for CONNECT.
	path string
}

// readTarget reads the request target of a request on the proxy port (RFC 9112,
// section 3.2): authority-form for CONNECT, else absolute-form with http.
func (h *requestHead) readTarget() (target, *flaw) {
	if h.method == http.MethodConnect {
		dest, ok := parseAuthority(h.target, 0)
		if !ok {
			return target{}, bad("A CONNECT request names host:port, and nothing else.")
		}
		return target{dest: dest}, nil // its Host field is ignored: old clients send none
	}
	t, f := h.absolute()
	switch {
	case f != nil:
		return t, f
	case h.hosts > 1:
		return t, bad("The request has more than one Host field.")
	case h.hosts == 0 && h.minor == 1:
		return t, bad("The request has no Host field.")
	case h.hosts == 1:
		host, ok := parseAuthority(h.host, 80)
		if !ok || host != t.dest {
			return t, &flaw{why: "The Host field names another host than the request target.", reason: policy.HostMismatch}
		}
	}
	return t, nil
}

// absolute reads "http://authority/path?query".
func (h *requestHead) absolute() (target, *flaw) {
	scheme, rest, ok := strings.Cut(h.target, "://")
	switch {
	case !ok:
		return target{}, bad("This is a proxy: it is asked with a whole URL, such as http://www.example.org/.")
	case strings.EqualFold(scheme, "https"):
		return target{}, bad("An https address is reached through a proxy with CONNECT.")
	case !strings.EqualFold(scheme, "http"):
		return target{}, bad("This proxy carries http, and through CONNECT https; nothing else.")
	case strings.Contains(rest, "#"):
		return target{}, bad("The request target has a fragment (#), which never leaves a client.")
	}
	cut := strings.IndexAny(rest, "/?")
	if cut < 0 {
		cut = len(rest)
	}
	dest, ok := parseAuthority(rest[:cut], 80)
	if !ok {
		return target{}, bad("The request target names no valid host and port.")
	}
	path := rest[cut:]
	switch {
	case path == "" && h.method == http.MethodOptions:
		path = "*" // RFC 9112, section 3.2.4: the last proxy asks for the server as such
	case !strings.HasPrefix(path, "/"):
		path = "/" + path
	}
	return target{dest: dest, path: path}, nil
}

// readPinnedTarget reads a target inside a tunnel, where the authority is the
// tunnel's: the request may repeat it and may not name another, neither in its
// target nor in its Host field.
func (h *requestHead) readPinnedTarget(pinned policy.Dest) (target, *flaw) {
	mismatch := &flaw{
		why:    "The request names another host than the tunnel it came through.",
		status: http.StatusMisdirectedRequest, reason: policy.HostMismatch,
	}
	t := target{dest: pinned, path: h.target}
	switch {
	case h.method == http.MethodConnect:
		return t, bad("A tunnel cannot be opened inside a tunnel.")
	case h.hosts > 1:
		return t, bad("The request has more than one Host field.")
	case h.hosts == 0 && h.minor == 1:
		return t, bad("The request has no Host field.")
	case h.hosts == 1:
		if host, ok := parseAuthority(h.host, pinned.Port); !ok || host != pinned {
			return t, mismatch
		}
	}
	switch {
	case h.target == "*" && h.method == http.MethodOptions:
	case strings.HasPrefix(h.target, "/") && !strings.Contains(h.target, "#"):
	default:
		abs, f := h.absolute()
		if f != nil {
			return t, f
		}
		if abs.dest != pinned {
			return t, mismatch
		}
		t.path = abs.path
	}
	return t, nil
}

// parseAuthority reads host[:port]; userinfo is none of a proxy's business and
// is refused with the rest. A dflt of 0 requires the port.
func parseAuthority(s string, dflt uint16) (policy.Dest, bool) {
	name, port := s, dflt
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		n, err := strconv.ParseUint(s[i+1:], 10, 16)
		if err != nil || n == 0 || s[i+1] < '1' || s[i+1] > '9' {
			return policy.Dest{}, false
		}
		name, port = s[:i], uint16(n)
	}
	if strings.HasPrefix(name, "[") != strings.HasSuffix(name, "]") || strings.Contains(name, ":") && !strings.HasPrefix(name, "[") {
		return policy.Dest{}, false // an IPv6 address in a URL stands in brackets (RFC 3986, section 3.2.2)
	}
	host, err := policy.ParseHost(name)
	return policy.Dest{Host: host, Port: port}, err == nil && port != 0
}
