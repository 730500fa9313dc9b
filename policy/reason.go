package policy

// Reason is why a passage was let through or refused. The strings are a
// contract: they stand in refusals, metrics, logs and DNS errors.
type Reason uint8

// The reasons, in the order in which the documentation lists them. The zero
// value is NoPolicy: a verdict nobody filled in was given without a policy.
const (
	NoPolicy Reason = iota
	Matched
	ClientNotListed
	HostNotListed
	PortNotListed
	MethodNotListed
	PathNotListed
	UploadNotListed
	TypeNotListed
	TypeMismatch
	UpgradeNotListed
	DeniedByRule
	Expired
	AliasNotAllowed
	NotHTTP
	NotTLS
	SNIMissing
	SNIMismatch
	AddressNotAllowed
	HostMismatch
	BadRequest
	LoginRequired
	Limit
	Loop
	QueryTypeNotAllowed
	Canary
	UpstreamInvalid
	UpstreamUnresolved
	UpstreamUnreachable
	UpstreamUntrusted
	numReasons
)

var reasonNames = [numReasons]string{
	NoPolicy:            "no-policy",
	Matched:             "matched",
	ClientNotListed:     "client-not-listed",
	HostNotListed:       "host-not-listed",
	PortNotListed:       "port-not-listed",
	MethodNotListed:     "method-not-listed",
	PathNotListed:       "path-not-listed",
	UploadNotListed:     "upload-not-listed",
	TypeNotListed:       "type-not-listed",
	TypeMismatch:        "type-mismatch",
	UpgradeNotListed:    "upgrade-not-listed",
	DeniedByRule:        "denied-by-rule",
	Expired:             "expired",
	AliasNotAllowed:     "alias-not-allowed",
	NotHTTP:             "not-http",
	NotTLS:              "not-tls",
	SNIMissing:          "sni-missing",
	SNIMismatch:         "sni-mismatch",
	AddressNotAllowed:   "address-not-allowed",
	HostMismatch:        "host-mismatch",
	BadRequest:          "bad-request",
	LoginRequired:       "login-required",
	Limit:               "limit",
	Loop:                "loop",
	QueryTypeNotAllowed: "query-type-not-allowed",
	Canary:              "canary",
	UpstreamInvalid:     "upstream-invalid",
	UpstreamUnresolved:  "upstream-unresolved",
	UpstreamUnreachable: "upstream-unreachable",
	UpstreamUntrusted:   "upstream-untrusted",
}

// String gives the reason as it stands in logs, metrics and refusals.
func (r Reason) String() string {
	if r < numReasons {
		return reasonNames[r]
	}
	return reasonNames[NoPolicy]
}

// Reasons lists every reason, for documentation tests and metric set-up.
func Reasons() []Reason {
	all := make([]Reason, 0, numReasons)
	for r := range numReasons {
		all = append(all, r)
	}
	return all
}

// Upstream reports whether r tells of a world that failed after the policy had
// said yes; such passages count as allowed.
func (r Reason) Upstream() bool {
	return r >= UpstreamInvalid && r <= UpstreamUntrusted
}

// rulesWouldRefuse reports whether r is a refusal by the rules themselves,
// which monitor mode turns into would_deny. Everything else (strangers, denies,
// bad requests, canary names, limits, query types) is refused in every mode.
func (r Reason) rulesWouldRefuse() bool {
	switch r {
	case HostNotListed, PortNotListed, MethodNotListed, PathNotListed,
		UploadNotListed, TypeNotListed, TypeMismatch, UpgradeNotListed, Expired,
		AliasNotAllowed, NotHTTP, NotTLS, SNIMissing, SNIMismatch,
		AddressNotAllowed, ClientNotListed:
		return true
	}
	return false
}
