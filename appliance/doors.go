package appliance

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// doors guards the admin listener against what a browser can be talked into: a
// page of a stranger whose name was made to point here (DNS rebinding), and
// forms that a stranger's page sends here (cross-site request forgery).
type doors struct {
	names []string // Host names it answers to, besides addresses and localhost
	next  http.Handler
}

func (d doors) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	w.Header().Set("Referrer-Policy", "no-referrer")
	if !d.knows(r) {
		http.Error(w, "this listener does not answer to the name you asked for; use its address, or add the name to listen.admin_names", http.StatusMisdirectedRequest)
		return
	}
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		http.Error(w, "refused: the request comes from another site's page ("+err.Error()+")", http.StatusForbidden)
		return
	}
	d.next.ServeHTTP(w, r)
}

// knows reports whether the Host field names this listener: the address the
// connection came to, localhost, or a name of the configuration.
func (d doors) knows(r *http.Request) bool {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if addr, err := netip.ParseAddr(host); err == nil {
		local, ok := localAddr(r)
		return ok && addr.Unmap() == local
	}
	return host == "localhost" || slices.ContainsFunc(d.names, func(name string) bool { return strings.EqualFold(name, host) })
}

// localAddr is the address the connection came to.
func localAddr(r *http.Request) (netip.Addr, bool) {
	tcp, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok {
		return netip.Addr{}, false
	}
	return tcp.AddrPort().Addr().Unmap(), true
}
