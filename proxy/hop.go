package proxy

import (
	"fmt"
	"net/http"
	"net/textproto"
	"strings"
)

// hopByHop reports whether a field is for one hop alone (RFC 9110, section
// 7.6.1), by its canonical name. Upgrade and Connection belong here too; a
// permitted upgrade puts them back.
func hopByHop(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Te", "Upgrade", "Transfer-Encoding", "X-Gatehouse-Decision":
		return true
	}
	return strings.HasPrefix(name, "Proxy-")
}

// stripHopByHop takes out what is for one hop alone, and whatever Connection
// names.
func stripHopByHop(h http.Header) {
	for _, nominated := range listed(h["Connection"]) {
		delete(h, textproto.CanonicalMIMEHeaderKey(nominated))
	}
	for name := range h {
		if hopByHop(name) {
			delete(h, name)
		}
	}
}

// addVia says that this gate passed the message on (RFC 9110, section 7.6.3).
func addVia(h http.Header, major, minor int, pseudonym string) {
	h["Via"] = append(h["Via"], fmt.Sprintf("%d.%d %s", major, minor, pseudonym))
}

// passedBefore reports whether the message has been through a gate of this name
// already: it goes round in a circle.
func passedBefore(h http.Header, pseudonym string) bool {
	for _, hop := range listed(h["Via"]) {
		by := strings.Fields(hop)
		if len(by) >= 2 && strings.EqualFold(by[1], pseudonym) {
			return true
		}
	}
	return false
}
