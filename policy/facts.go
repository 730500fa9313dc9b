package policy

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// facts is all that is known of one passage. Every question becomes facts, and
// one function judges them: what is not known is not judged.
type facts struct {
	at      time.Time
	surface Surface
	known   knowledge
	tunnel  bool // its inside is not known
	secure  bool
	body    bool
	typed   bool // some rule that bears on the passage speaks of media types
	family  Family
	client  netip.Addr // unmapped
	dest    Dest       // for good
	near    nearby     // the rules of dest.Host
	publish string     // the publication that was asked, of the surface Publish
	// listed is the policy that permits the client whatever the day; nil: it is to
	// be asked.
	listed *Policy

	opening Opening

	method  string
	path    Path
	upload  MediaType
	parts   []MediaType // of the upload, each type once
	upgrade string
	octets  int64 // of the body of a published request, as far as is known

	aliases []Host
	addr    netip.Addr

	mediaType MediaType
}

// knowledge says which facts are known; host and client always are.
type knowledge uint8

const (
	knowPort knowledge = 1 << iota
	knowRequest
	knowAddr
	knowType
)

func (f *facts) knows(k knowledge) bool { return f.known&k != 0 }

// Step is one of the steps of the language, in their order.
type Step uint8

// The steps. A passage that fits an allow to the end has passed them all.
const (
	StepHost Step = iota
	StepClient
	StepPort
	StepProtocol
	StepMethod
	StepPath
	StepUpload
	StepUpgrade
	StepAlias
	StepAddress
	StepType
	stepEnd
)

// String names the step as explain does.
func (s Step) String() string {
	return [...]string{"host", "client", "port", "protocol", "method", "path", "upload", "upgrade",
		"alias", "address", "type", "end"}[min(s, stepEnd)]
}

// fell is the first step at which allow r no longer fits what is known, stepEnd
// where it fits all of it.
func (r *rule) fell(c candidate, f *facts, s *survey) Step {
	switch {
	case !r.names(f.client):
		return StepClient
	case f.knows(knowPort) && !r.listsPort(c, f.dest.Port):
		return StepPort
	case f.knows(knowPort) && f.protocolReason(s.expected) != Matched:
		return StepProtocol
	}
	if f.knows(knowRequest) {
		switch {
		case r.Methods != nil && !slices.Contains(r.Methods, f.method):
			return StepMethod
		case !r.listsPath(f.path):
			return StepPath
		case r.Uploads != nil && f.body && !r.takesUpload(f):
			return StepUpload
		case f.upgrade != "" && !r.listsUpgrade(f.upgrade):
			return StepUpgrade
		}
	}
	if r.Aliases != nil && !allMatch(r.Aliases, f.aliases) {
		return StepAlias
	}
	if f.knows(knowAddr) && !r.addresses.permits(f.addr, s.standing, f.dest.Host) {
		return StepAddress
	}
	if f.knows(knowType) && !s.typeFits(r, f) {
		return StepType
	}
	return stepEnd
}

// listsPort reports whether the rule names the port for this host. UDP rules
// speak of routed packets only, never of a connection through the gate.
func (r *rule) listsPort(c candidate, port uint16) bool {
	if r.Protocol == UDP {
		return false
	}
	if c.port != 0 {
		return c.port == port
	}
	for _, pr := range r.Ports {
		if pr.Contains(port) {
			return true
		}
	}
	return false
}

// listsPath reports whether the rule permits the path: by its paths, and by its
// types, for a table without "*" permits no path it does not name.
func (r *rule) listsPath(path Path) bool {
	if r.Paths != nil && !slices.ContainsFunc(r.Paths, func(g Glob) bool { return g.Match(path) }) {
		return false
	}
	return r.Types == nil || slices.ContainsFunc(r.Types, func(e TypeEntry) bool { return e.Glob.Match(path) })
}

func (r *rule) listsUpgrade(token string) bool {
	if r.Upgrades == nil {
		return !r.inner && token == "websocket"
	}
	return slices.Contains(r.Upgrades, token)
}

func allMatch(patterns []HostPattern, hosts []Host) bool {
	for _, h := range hosts {
		if !slices.ContainsFunc(patterns, func(p HostPattern) bool { return p.Match(h) }) {
			return false
		}
	}
	return true
}

// protocolReason compares what the passage speaks with what the port carries.
// It is Matched where they agree or the first bytes are not known yet.
func (f *facts) protocolReason(expected Protocol) Reason {
	switch {
	case f.knows(knowRequest) && f.secure:
		if expected == PlainHTTP {
			return NotHTTP
		}
	case f.knows(knowRequest):
		if expected != PlainHTTP {
			return NotHTTP
		}
	case f.tunnel && f.opening.Protocol != ProtocolUnknown:
		return f.openingReason(expected)
	}
	return Matched
}

func (f *facts) openingReason(expected Protocol) Reason {
	switch {
	case expected == PlainHTTP && f.opening.Protocol != PlainHTTP:
		return NotHTTP
	case expected == TLS && f.opening.Protocol != TLS:
		return NotTLS
	case expected == TLS:
		return f.sniReason()
	}
	return Matched
}

// sniReason holds the server name to the CONNECT host: none where that is an IP
// literal (RFC 6066, section 3, permits no literals), else the very same name.
func (f *facts) sniReason() Reason {
	sni, host := strings.TrimSuffix(f.opening.SNI, "."), f.dest.Host
	switch {
	case host.IsIP() && sni != "":
		return SNIMismatch
	case host.IsIP():
		return Matched
	case sni == "":
		return SNIMissing
	// The length keeps letters out that only Unicode folds into ASCII (the
	// Kelvin sign, the long s): each takes more than one octet.
	case len(sni) != len(host.name) || !strings.EqualFold(sni, host.name):
		return SNIMismatch
	}
	return Matched
}

// reason is what a refusal at this step is called.
func (s Step) reason(f *facts, expected Protocol) Reason {
	switch s {
	case StepClient:
		return ClientNotListed
	case StepPort:
		return PortNotListed
	case StepProtocol:
		return f.protocolReason(expected)
	case StepMethod:
		return MethodNotListed
	case StepPath:
		return PathNotListed
	case StepUpload:
		return UploadNotListed
	case StepUpgrade:
		return UpgradeNotListed
	case StepAlias:
		return AliasNotAllowed
	case StepAddress:
		return AddressNotAllowed
	case StepType:
		return TypeNotListed
	}
	return HostNotListed
}
