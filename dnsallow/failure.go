package dnsallow

import (
	"errors"
	"fmt"
	"time"
)

// Error says that a name did not lead to an address although the policy let it
// be asked. It is no verdict: the gate said yes and the world failed.
type Error struct {
	// Name is what was asked.
	Name string
	// NXDomain: upstream said that the name does not exist. NoData: that it has
	// no address (of the family asked for). Both are false where upstream could
	// not be asked or gave no usable answer; Err then says why.
	NXDomain, NoData bool
	// TTL is how long an NXDomain or NoData may still be relied upon.
	TTL   time.Duration
	until time.Time // when it has run down
	stale bool      // upstream said so once, and does not answer now
	Err   error
}

// Error implements error. It names no server and no address.
func (e *Error) Error() string {
	switch {
	case e.NXDomain:
		return fmt.Sprintf("resolve %s: the name does not exist", e.Name)
	case e.NoData:
		return fmt.Sprintf("resolve %s: the name has no address", e.Name)
	}
	return fmt.Sprintf("resolve %s: %v", e.Name, e.Err)
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Timeout reports whether no upstream answered in time.
func (e *Error) Timeout() bool {
	var t interface{ Timeout() bool }
	return errors.As(e.Err, &t) && t.Timeout()
}

// negative reports whether upstream answered, and the answer was no.
func (e *Error) negative() bool { return e.NXDomain || e.NoData }

// rcodeError is an upstream that answered with a response code that is neither
// yes nor no: SERVFAIL, REFUSED and the like.
type rcodeError struct{ name string }

func (e rcodeError) Error() string { return "upstream answered " + e.name }

// invalidError is an answer that cannot be true.
type invalidError string

func (e invalidError) Error() string {
	return "upstream gave an answer that cannot be used: " + string(e)
}
