package flow

// Fault is why TLS that the gate was to look into did not come about, on either
// side. The words stand in the decision log and are labels of a metric: this is
// all of them.
type Fault string

// The faults of origins: the first ones are of their certificates.
const (
	Expired           Fault = "expired"
	NotYetValid       Fault = "not-yet-valid"
	WrongHost         Fault = "wrong-host"
	SelfSigned        Fault = "self-signed"
	UnknownIssuer     Fault = "unknown-issuer"
	Revoked           Fault = "revoked"
	BadCertificate    Fault = "bad-certificate"    // anything else that is wrong with it
	ClientCertificate Fault = "client-certificate" // the origin demands that the client shows one
	HandshakeRefused  Fault = "handshake-refused"  // by an alert of the origin
	NoHandshake       Fault = "no-handshake"       // no TLS, none that is understood, or broken off
	HandshakeTimeout  Fault = "handshake-timeout"
)

// The faults between the client and the gate.
const (
	ClientDistrusts Fault = "client-distrusts" // by an alert: it does not take the gate's certificate
	ClientLeft      Fault = "client-left"      // as soon as it had seen the certificate
	ClientHandshake Fault = "client-handshake" // nothing in common, broken, or not in time
	ClientGarbage   Fault = "client-garbage"   // what came after the handshake was no TLS
	NotCovered      Fault = "not-covered"      // the inspection CA was not made for the host
	NoAuthority     Fault = "no-authority"     // there is no inspection CA that could sign
)

// Faults lists every fault.
func Faults() []Fault {
	return []Fault{
		Expired, NotYetValid, WrongHost, SelfSigned, UnknownIssuer, Revoked, BadCertificate,
		ClientCertificate, HandshakeRefused, NoHandshake, HandshakeTimeout,
		ClientDistrusts, ClientLeft, ClientHandshake, ClientGarbage, NotCovered, NoAuthority,
	}
}

// Certificate reports whether it is an origin's certificate that is at fault.
func (f Fault) Certificate() bool {
	switch f {
	case Expired, NotYetValid, WrongHost, SelfSigned, UnknownIssuer, Revoked, BadCertificate:
		return true
	}
	return false
}
