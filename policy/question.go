package policy

import (
	"net/netip"
	"time"
)

// Surface is the door a passage came through.
type Surface uint8

// The surfaces. Their names are label values of the metrics.
const (
	HTTP Surface = iota
	CONNECT
	Gateway
	DNS
	Publish
	numSurfaces
)

// String names the surface as metrics and logs do.
func (s Surface) String() string {
	return [numSurfaces]string{"http", "connect", "gateway", "dns", "publish"}[min(s, numSurfaces-1)]
}

// Surfaces lists every surface.
func Surfaces() []Surface { return []Surface{HTTP, CONNECT, Gateway, DNS, Publish} }

// Protocol is what a port carries.
type Protocol uint8

// The protocols; the zero value means "not stated" in a rule and "not known" in
// a question.
const (
	ProtocolUnknown Protocol = iota
	PlainHTTP
	TLS
	TCP
	UDP
)

// String is the protocol as a rules file spells it.
func (p Protocol) String() string {
	return [...]string{"", "http", "tls", "tcp", "udp"}[min(p, UDP)]
}

// UsualProtocol is what a port carries where no rule says otherwise: 80 http,
// 443 and 5671 tls, any other tcp.
func UsualProtocol(port uint16) Protocol {
	switch port {
	case 80:
		return PlainHTTP
	case 443, 5671:
		return TLS
	}
	return TCP
}

// Opening is what the first bytes of a tunnel showed.
type Opening struct {
	// Protocol is PlainHTTP or TLS where the bytes are that, TCP where they
	// are something else or never came, ProtocolUnknown while nobody looked.
	Protocol Protocol
	// SNI is the server name of the ClientHello as the client wrote it; empty
	// where it sent none.
	SNI string
}

// Connect asks whether a tunnel may be opened. With Opening filled in it asks
// again once the first bytes are known.
type Connect struct {
	At      time.Time
	Surface Surface // CONNECT or Gateway
	Client  netip.Addr
	Dest    Dest
	Opening Opening
}

// Request asks whether one HTTP request may be sent.
type Request struct {
	At      time.Time
	Surface Surface // HTTP
	Client  netip.Addr
	Dest    Dest
	// Secure says that the request came inside TLS that the gate looks into.
	Secure bool
	Method string
	Path   Path
	// Body says that the request carries a body; Upload is its media type, the
	// zero value where it has none or more than one.
	Body   bool
	Upload MediaType
	// Upgrade is the protocol the request asks to switch to, lower case; empty
	// where it asks for none.
	Upgrade string
}

// DNS query types that may be answered with addresses (RFC 1035, RFC 3596).
const (
	TypeA    uint16 = 1
	TypeAAAA uint16 = 28
)

// Query asks whether a DNS question may be resolved. A Type of 0 stands for "A
// and AAAA" (a look-up by name).
type Query struct {
	At     time.Time
	Client netip.Addr
	Name   Host
	Type   uint16
}

// Answer asks whether a passage may lead to one address. Aliases are the
// CNAME targets that led there, in order; the slice is kept by the returned
// Permit and must not be changed afterwards. Nil stands for those that the
// Permit remembers.
type Answer struct {
	At      time.Time
	Permit  Permit
	Aliases []Host
	Addr    netip.Addr // zero: judge the aliases only
}

// Response asks whether a response may be handed to the client. Ask it only of
// a 2xx response with a body (also 206).
type Response struct {
	At     time.Time
	Permit Permit
	// Type is the declared media type, the zero value where Content-Type is
	// missing, repeated or unreadable.
	Type MediaType
	// Family is what the first bytes of the body show, behind its
	// Content-Encoding; FamilyUnknown before they are known, for a part of a file
	// that does not begin at 0, and where the coding cannot be looked through.
	Family Family
}

// Family is what the first bytes of a body show it to be.
type Family uint8

// The families; what is not recognised contradicts nothing.
const (
	FamilyUnknown Family = iota
	FamilyProgram
	FamilyArchive
	FamilyText
	FamilyMarkup
)

// String names the family as logs do.
func (f Family) String() string {
	return [...]string{"unknown", "program", "archive", "text", "markup"}[min(f, FamilyMarkup)]
}
