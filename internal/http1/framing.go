package http1

import (
	"bytes"
	"math"
)

// BodyKind is how the end of a body is found (RFC 9112, section 6.3).
type BodyKind uint8

// The kinds of body. NoBody is the zero value.
const (
	NoBody     BodyKind = iota // the head is all
	Sized                      // Body.Length bytes, possibly 0
	Chunked                    // read it with ChunkReader
	UntilClose                 // of an answer only: whatever comes before the connection ends
	Tunnel                     // HTTP has ended: 101, or 2xx to CONNECT
)

// Body is what follows a head.
type Body struct {
	Kind   BodyKind
	Length int64 // of Sized, 0 to 2^63-1
}

// declared is what the fields say about the body, whoever sent them.
func (f *Fields) declared(minor uint8) (Body, error) {
	lengths, codings := f.count[ContentLength], f.count[TransferEncoding]
	switch {
	case lengths > 0 && codings > 0:
		return Body{}, ErrLengthAndCoding
	case codings > 0 && minor == 0:
		return Body{}, ErrCodingVersion
	case codings > 1:
		return Body{}, ErrCodingRepeated
	case codings == 1:
		return Body{Kind: Chunked}, coding(f.Value(TransferEncoding))
	case lengths > 1:
		// "the recipient MUST either reject the message as invalid or replace the
		// duplicated field values" (RFC 9110, section 8.6): reject.
		return Body{}, ErrLengthRepeated
	case lengths == 1:
		n, err := length(f.Value(ContentLength))
		return Body{Kind: Sized, Length: n}, err
	}
	return Body{}, nil
}

// length reads 1*DIGIT and nothing else: no list, no sign, no white space.
func length(b []byte) (n int64, err error) {
	if len(b) == 0 || span(b, classDigit) != len(b) {
		return 0, ErrLengthSyntax
	}
	if len(b) > len("9223372036854775807") {
		return 0, ErrLengthRange
	}
	for _, c := range b {
		d := int64(c - '0')
		if n > (math.MaxInt64-d)/10 {
			return 0, ErrLengthRange
		}
		n = n*10 + d
	}
	return n, nil
}

// coding accepts "chunked" in any case, and says what is wrong with all else.
func coding(b []byte) error {
	if equalFold(b, "chunked") {
		return nil
	}
	var chunked, unknown, last bool
	for list := b; list != nil; {
		var m []byte
		m, list = member(list)
		name, params, hasParams := bytes.Cut(m, []byte(";"))
		name = trim(name)
		last = equalFold(name, "chunked")
		switch {
		case !isToken(name) || last && hasParams || hasParams && len(trim(params)) == 0:
			// "the chunked coding does not define any parameters. Their presence
			// SHOULD be treated as an error" (RFC 9112, section 7.1).
			return ErrCodingSyntax
		case last && chunked:
			return ErrCodingRepeated
		case last:
			chunked = true
		default:
			unknown = true
		}
	}
	if chunked && !last {
		return ErrCodingOrder
	}
	if unknown {
		return ErrCodingUnknown
	}
	return ErrCodingSyntax
}

// Options are what the Connection field asks for.
type Options uint8

// The connection options that mean something here.
const (
	OptionClose          Options = 1 << iota
	OptionKeepAlive              // of HTTP/1.0
	OptionUpgrade                // the Upgrade field counts
	OptionProxyKeepAlive         // said in Proxy-Connection, as old clients do
)

// Has reports whether the option was given.
func (o Options) Has(option Options) bool { return o&option != 0 }

// mostNominated bounds what one head's Connection may name: each costs a look at
// every field.
const mostNominated = 32

// connection reads the Connection fields and marks what they nominate as being
// for this hop alone.
func (f *Fields) connection() (Options, error) {
	var options Options
	if f.count[Connection]|f.count[ProxyConnection] == 0 {
		return 0, nil
	}
	nominated := 0
	for i := range f.lines {
		switch _, value := f.Line(i); f.lines[i].name {
		case Connection:
			o, n, err := f.options(value)
			if err != nil {
				return 0, err
			}
			options |= o
			if nominated += n; nominated > mostNominated {
				return 0, ErrConnectionOptions
			}
		case ProxyConnection: // no standard's: heard only where old clients say keep-alive
			for list := value; list != nil; {
				var m []byte
				if m, list = member(list); equalFold(m, "keep-alive") {
					options |= OptionProxyKeepAlive
				}
			}
		}
	}
	return options, nil
}

// options reads one Connection field; n is how many fields it nominates.
func (f *Fields) options(list []byte) (options Options, n int, err error) {
	for list != nil {
		var m []byte
		m, list = member(list)
		switch {
		case len(m) == 0: // empty members are ignored (RFC 9110, section 5.6.1.2)
		case !isToken(m):
			return 0, n, ErrConnectionSyntax
		case equalFold(m, "close"):
			options |= OptionClose
		case equalFold(m, "keep-alive"):
			options |= OptionKeepAlive
		case equalFold(m, "upgrade"):
			options |= OptionUpgrade
		default:
			if n++; n > mostNominated {
				return 0, n, ErrConnectionOptions
			}
			f.nominate(m)
		}
	}
	return options, n, nil
}

func (f *Fields) nominate(field []byte) {
	if nameTable[nameOf(field)].kept {
		return
	}
	for i := range f.lines {
		if name, _ := f.Line(i); equalFoldBytes(name, field) {
			f.lines[i].hop = true
		}
	}
}

// announced checks the Trailer fields: a name that may not come there would be
// refused when it came (RFC 9110, section 6.6.2).
func (f *Fields) announced() error {
	if f.count[Trailer] == 0 {
		return nil
	}
	for i := range f.lines {
		if f.lines[i].name != Trailer {
			continue
		}
		_, list := f.Line(i)
		for list != nil {
			var m []byte
			m, list = member(list)
			switch {
			case len(m) == 0:
			case !isToken(m):
				return ErrTrailerSyntax
			case nameTable[nameOf(m)].early:
				return ErrTrailerName
			}
		}
	}
	return nil
}

// upgrade is the list of protocols offered, nil where Upgrade does not count: in
// HTTP/1.0, or where Connection does not name it (RFC 9110, section 7.8).
func (f *Fields) upgrade(minor uint8, options Options) ([]byte, error) {
	if f.count[Upgrade] == 0 {
		return nil, nil
	}
	value := f.Value(Upgrade)
	if f.count[Upgrade] > 1 || len(value) == 0 {
		return nil, ErrUpgradeSyntax
	}
	for list := value; list != nil; {
		var m []byte
		m, list = member(list)
		name, version, versioned := bytes.Cut(m, []byte("/"))
		if !isToken(name) || versioned && !isToken(version) {
			return nil, ErrUpgradeSyntax
		}
	}
	if minor == 0 || !options.Has(OptionUpgrade) {
		return nil, nil
	}
	return value, nil
}

// Pseudonym is how a gate names itself in Via; made by ParsePseudonym.
type Pseudonym struct{ name string }

// PassedThrough reports whether a Via field names the pseudonym: the message has
// been through this gate before and goes round in a circle.
func (f *Fields) PassedThrough(p Pseudonym) bool {
	if f.count[Via] == 0 || p.name == "" {
		return false
	}
	for i := range f.lines {
		if f.lines[i].name != Via {
			continue
		}
		_, list := f.Line(i)
		for list != nil {
			var m []byte
			m, list = member(list) // received-protocol RWS received-by [ RWS comment ]
			_, by := word(m)
			if by, _ = word(by); equalFoldBytes(by, p.name) {
				return true
			}
		}
	}
	return false
}

// word cuts b at its first white space.
func word(b []byte) (first, rest []byte) {
	for i, c := range b {
		if c == ' ' || c == '\t' {
			return b[:i], trim(b[i:])
		}
	}
	return b, nil
}
