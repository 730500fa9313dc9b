package parent

import (
	"fmt"
	"net/http"
)

// Cause is what a parent proxy did not do. The strings are labels of metrics.
type Cause string

// The causes.
const (
	Unreachable Cause = "unreachable" // no connection, or one that ended without an answer
	Silent      Cause = "silent"      // it took the question and did not answer in time
	Login       Cause = "login"       // 407
	Refused     Cause = "refused"     // 403, and whatever else is no
	Length      Cause = "length"      // 411: it takes no body of unknown length
	Expectation Cause = "expectation" // 417: it does not know 100-continue
	Method      Cause = "method"      // 405, 501
	Destination Cause = "destination" // 502, 503, 504: it could not reach the origin
	Garbled     Cause = "garbled"     // what it says is no HTTP
	// Buffering is no certainty: it let nothing through of what it should pass on as
	// it comes, and nobody else is known to have kept it back.
	Buffering Cause = "buffering"
)

var causes = [...]Cause{Unreachable, Silent, Login, Refused, Length, Expectation, Method, Destination, Garbled, Buffering}

// CauseOf is what the status of an answer says a parent does not do; empty where
// it says nothing of the kind.
func CauseOf(status int) Cause {
	switch status {
	case http.StatusProxyAuthRequired:
		return Login
	case http.StatusLengthRequired:
		return Length
	case http.StatusExpectationFailed:
		return Expectation
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return Method
	case http.StatusForbidden:
		return Refused
	}
	return ""
}

// Fault is an error: a parent proxy that did not do what it was asked for.
type Fault struct {
	Parent string // its name in gatehouse.toml
	Cause  Cause
	Status int   // of its answer; 0: it gave none
	Err    error // nil: its answer says all
}

// Error implements error.
func (f *Fault) Error() string {
	if f.Err != nil {
		return fmt.Sprintf("parent proxy %s: %s: %v", f.Parent, f.Cause, f.Err)
	}
	return fmt.Sprintf("parent proxy %s: %s (%d)", f.Parent, f.Cause, f.Status)
}

// Unwrap gives what caused it.
func (f *Fault) Unwrap() error { return f.Err }

// Timeout reports whether it was a matter of time.
func (f *Fault) Timeout() bool { return f.Cause == Silent }

// Answered reports whether the parent gave an answer.
func (f *Fault) Answered() bool { return f.Status != 0 }

// Why says it in a sentence.
func (f *Fault) Why() string {
	who := "The parent proxy " + f.Parent
	switch f.Cause {
	case Unreachable:
		return who + " cannot be reached, or hangs up without an answer."
	case Silent:
		return who + " did not answer in time."
	case Garbled:
		return who + " answers in something that is not HTTP."
	case Buffering:
		return who + " let nothing through of a stream until the client gave up: if the destination did not keep silent itself, it holds streams back until they end."
	case Login:
		return fmt.Sprintf("%s answers %d: it wants a login, or another one than it was given.", who, f.Status)
	case Length:
		return fmt.Sprintf("%s answers %d: it takes no upload whose length is not known in advance.", who, f.Status)
	case Expectation:
		return fmt.Sprintf("%s answers %d: it does not know Expect: 100-continue.", who, f.Status)
	case Method:
		return fmt.Sprintf("%s answers %d: it does not know the method, or no chunked upload.", who, f.Status)
	case Destination:
		return fmt.Sprintf("%s answers %d: it could not reach the destination.", who, f.Status)
	}
	return fmt.Sprintf("%s answers %d: it refuses this destination.", who, f.Status)
}

// Fix says what an administrator can do about it.
func (f *Fault) Fix() string {
	switch f.Cause {
	case Login:
		return "put user and password into the url of its [[upstream]] table; a parent that wants NTLM or Kerberos has to permit this machine by its address"
	case Refused:
		return `have it permit this machine, destination and port; if it permits names only, connect = "name" in its [[upstream]] table`
	case Length, Expectation, Method:
		return "it is older than HTTP/1.1 asks for (Squid before 3.2 is): have it replaced, or go past it by parent = \"direct\" in the rule"
	case Buffering:
		return "have it pass on what comes as it comes to this destination (no scanning, no filter of contents), let Service Bus use 443 or the ports that are redirected, or go past it by parent = \"direct\" in the rule"
	case Unreachable, Silent, Garbled:
		return "see that it runs and that url of its [[upstream]] table names it"
	}
	return ""
}
