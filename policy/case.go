package policy

import (
	"net/netip"
	"time"
)

// CaseKind is what a Case asks about.
type CaseKind uint8

// The kinds of cases.
const (
	CaseRequest CaseKind = iota // METHOD URL
	CaseConnect                 // CONNECT host:port
	CaseDNS                     // DNS name
	CasePublish                 // PUBLISH name METHOD /path
)

// Case is a passage as somebody describes it: on the command line of explain,
// in a test of a rules file, in the console. What is not stated is not judged.
type Case struct {
	At     time.Time
	Kind   CaseKind
	Client netip.Addr
	Dest   Dest // Port is 0 for CaseDNS; CasePublish has none
	// Publish is the publication that is asked, Octets how long the body is; of
	// CasePublish alone.
	Publish string
	Octets  int64

	Secure bool // the URL is https
	Method string
	Path   Path

	UploadStated bool // Upload holds the media type of a request body
	Upload       MediaType
	Upgrade      string

	TypeStated bool // Type holds the media type that comes back
	Type       MediaType
	Family     Family

	QueryType uint16 // CaseDNS; 0: addresses
	Aliases   []Host
	Addr      netip.Addr // zero: not stated

	// AsIfInspected judges the inside of TLS whether or not this appliance
	// looks into it, and in enforce mode: the way tests in a rules file ask.
	AsIfInspected bool
}

// Explanation says what the policy decides about a Case, and why.
type Explanation struct {
	Verdict Verdict
	// Steps are the steps that were judged, in order, each with the allows
	// that fell away there and those still carried after it.
	Steps []StepTrace
	// Nearest is the allow that got furthest where the case is refused, and
	// the one change that would carry it past that step; nil where no allow
	// names the host or the refusal has nothing to do with the allows.
	Nearest *NearMiss
	// Unchecked names the clauses ("type", "method", …) that rules of the host
	// state but that cannot be checked for this case, because it is inside TLS
	// that is not looked into.
	Unchecked []string
	// Inspects says that the policy looks into TLS elsewhere: then clauses are
	// unchecked because it leaves this host alone.
	Inspects bool
}

// StepTrace is one step of an Explanation.
type StepTrace struct {
	Step    Step
	Carried []*Rule
	Fell    []*Rule
}

// NearMiss is the allow that came closest.
type NearMiss struct {
	Rule *Rule
	Step Step
	// Change is what to write into the rule, in words an admin can follow:
	// `add "PUT" to methods`.
	Change string
}
