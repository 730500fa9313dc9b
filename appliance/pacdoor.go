//go:build linux

package appliance

import (
	"net"
	"net/http"
	"net/netip"

	"gatehouse/appliance/pac"
)

// pacHandler serves the PAC file under the two names by which it is looked for,
// and nothing else. Each client is told of its own rules.
func (a *Appliance) pacHandler() http.Handler {
	mux := http.NewServeMux()
	for _, path := range []string{"/proxy.pac", "/wpad.dat"} {
		mux.HandleFunc("GET "+path, a.wayOut)
	}
	return mux
}

func (a *Appliance) wayOut(w http.ResponseWriter, r *http.Request) {
	client, err := netip.ParseAddrPort(r.RemoteAddr)
	came, known := localAddr(r)
	if err != nil || !known {
		http.Error(w, "the connection has no address", http.StatusInternalServerError)
		return
	}
	proxy, ok := proxyBeside(came, a.proxyDoors())
	if !ok {
		http.Error(w, "no address of the proxy can be told from here; name one in listen.proxy", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", pac.MediaType)
	w.Header().Set("Cache-Control", "private, max-age=60")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Write(a.Config.PACFile(a.live.Policy(), a.Now(), client.Addr().Unmap().WithZone(""), proxy))
}

// proxyDoors are the addresses the proxy listens on.
func (a *Appliance) proxyDoors() (doors []netip.AddrPort) {
	for _, ln := range a.doors.proxy {
		if tcp, ok := ln.Addr().(*net.TCPAddr); ok {
			doors = append(doors, netip.AddrPortFrom(tcp.AddrPort().Addr().Unmap(), uint16(tcp.Port)))
		}
	}
	return doors
}
