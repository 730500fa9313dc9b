package http1

import "bytes"

// Expectation is what the Expect field asks for (RFC 9110, section 10.1.1).
type Expectation uint8

// The expectations. The zero value is none.
const (
	ExpectNothing  Expectation = iota
	ExpectContinue             // wait for 100 before sending the body
	ExpectUnknown              // something no server knows: 417
)

// Request is a request head in its parts. It is read again and again by Parse and
// may be kept between requests, and in a pool. The slices in it point into the
// buffer last given to Parse, and are good once Parse has returned a length, until
// that buffer changes.
type Request struct {
	Fields
	Method       []byte // a token, at most 32 bytes
	Target       Target
	Minor        uint8     // HTTP/1.Minor, 0 or 1
	Host         Authority // the Host field; no host where there is none
	HostMismatch bool      // Host names another host than the absolute target
	Body         Body      // NoBody, Sized or Chunked
	Expect       Expectation
	Options      Options
	Upgrade      []byte // the protocols offered, nil where Upgrade does not count

	progress progress
}

// longestMethod is twice the longest registered name (RFC 3253's
// BASELINE-CONTROL).
const longestMethod = 32

// Parse looks for a request head at the beginning of buf. It returns the length of
// the head, its empty line included; 0 and no error where more bytes are needed,
// and then Parse is called again with the same bytes and more, in the same buffer
// or another; or an Error, after which the connection can only be answered and
// closed. After a head or an error the next call begins anew.
func (r *Request) Parse(buf []byte, limits Limits) (int, error) {
	if !r.progress.begun {
		r.Reset()
		r.progress.begun = true
	}
	n, err := r.progress.read(&r.Fields, r, buf, limits)
	if n > 0 && err == nil {
		err = r.finish()
	}
	return r.progress.end(n, err)
}

// Reset forgets everything, an unfinished head too; the memory for fields stays.
func (r *Request) Reset() {
	r.Fields.reset()
	*r = Request{Fields: r.Fields}
}

// Persistent reports whether another request may follow on the connection (RFC
// 9112, section 9.3). For HTTP/1.0 that is never so at a proxy; who wishes to
// please old clients asks Options.
func (r *Request) Persistent() bool {
	return r.Minor == 1 && !r.Options.Has(OptionClose)
}

// Authority is who is asked: the target's authority, else the Host field's.
func (r *Request) Authority() Authority {
	if r.Target.Authority.Host != nil {
		return r.Target.Authority
	}
	return r.Host
}

// startLine reads method SP request-target SP HTTP-version.
func (r *Request) startLine(b []byte, whole bool) (skip bool, err error) {
	if len(b) == 0 {
		return whole, nil // RFC 9112, section 2.2: at least one is to be ignored
	}
	end := span(b, classToken)
	switch {
	case b[0] == 0x16: // a TLS record that holds a handshake
		return false, ErrTLS
	case end > longestMethod:
		return false, ErrMethodLength
	case end == len(b):
		return false, missing(whole)
	case end == 0:
		return false, ErrMethod
	case b[end] != ' ':
		return false, badMethod(b[end])
	}
	r.Method = b[:end]
	if string(r.Method) == "PRI" { // reserved so that HTTP/2 cannot be mistaken
		return false, ErrHTTP2
	}
	return false, r.targetAndVersion(b[end+1:], whole)
}

func missing(whole bool) error {
	if whole {
		return ErrRequestLine
	}
	return nil
}

func badMethod(c byte) error {
	switch c {
	case '\r':
		return ErrBareCR
	case '\t':
		return ErrRequestLine
	}
	return ErrMethod
}

func (r *Request) targetAndVersion(b []byte, whole bool) error {
	target, version, complete := bytes.Cut(b, []byte(" "))
	if err := checkTarget(target); err != nil {
		return err
	}
	if !complete {
		return missing(whole)
	}
	if len(target) == 0 {
		return ErrRequestLine
	}
	if err := r.Target.parse(r.Method, target); err != nil {
		return err
	}
	minor, err := readVersion(version, whole)
	r.Minor = minor
	return err
}

// readVersion reads HTTP/1.1 or HTTP/1.0, in upper case (RFC 9112, section 2.3).
func readVersion(b []byte, whole bool) (minor uint8, err error) {
	const prefix = "HTTP/1."
	n := min(len(b), len(prefix))
	switch {
	case string(b[:n]) != prefix[:n]:
		return 0, ErrVersion
	case len(b) <= len(prefix):
		if whole {
			return 0, ErrVersion
		}
		return 0, nil
	case len(b) > len(prefix)+1 || b[len(prefix)]|1 != '1':
		return 0, ErrVersion
	}
	return b[len(prefix)] - '0', nil
}

func (r *Request) startTooLong() error { return ErrTargetLength }

// finish reads the fields that a proxy must understand, all lines being there.
func (r *Request) finish() (err error) {
	if err = r.readHost(); err != nil {
		return err
	}
	if r.Body, err = r.declared(r.Minor); err != nil {
		return err
	}
	if r.Target.Form == AuthorityForm && (r.Body.Kind == Chunked || r.Body.Length > 0) {
		return ErrConnectBody
	}
	if r.Options, err = r.connection(); err != nil {
		return err
	}
	if err = r.announced(); err != nil {
		return err
	}
	if r.Upgrade, err = r.upgrade(r.Minor, r.Options); err != nil {
		return err
	}
	r.Expect = r.expectation()
	return nil
}

// readHost follows RFC 9112, section 3.2. What Host says beside CONNECT is of no
// interest, as long as it is there once and well-formed.
func (r *Request) readHost() error {
	switch n := r.count[Host]; {
	case n > 1:
		return ErrHostRepeated
	case n == 0 && r.Minor == 1:
		return ErrHostMissing
	case n == 0:
		return nil
	}
	value := r.Value(Host)
	if len(value) == 0 && r.Target.Form == AuthorityForm {
		return nil
	}
	host, ok := parseAuthority(value)
	if !ok {
		return ErrHostSyntax
	}
	r.Host = host
	if r.Target.Form == AbsoluteForm {
		r.HostMismatch = !host.same(r.Target.Authority, defaultPort(r.Target.Scheme))
	}
	return nil
}

// defaultPort is a scheme's own port, 0 where it is not known.
func defaultPort(scheme []byte) uint16 {
	switch {
	case equalFold(scheme, "http"):
		return 80
	case equalFold(scheme, "https"):
		return 443
	}
	return 0
}

// expectation reads the Expect fields; in HTTP/1.0 they are ignored (RFC 9110,
// section 10.1.1).
func (r *Request) expectation() Expectation {
	if r.count[Expect] == 0 || r.Minor == 0 {
		return ExpectNothing
	}
	if r.count[Expect] > 1 || !equalFold(r.Value(Expect), "100-continue") {
		return ExpectUnknown
	}
	return ExpectContinue
}
