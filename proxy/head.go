package proxy

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"strings"

	"gatehouse/internal/http1"
	"gatehouse/policy"
)

// flaw is what is wrong with a request as such. The zero status is 400, the zero
// reason bad-request.
type flaw struct {
	why    string // a sentence for whoever sent it
	status int
	reason policy.Reason
}

func (f *flaw) Error() string { return f.why }

func bad(why string) *flaw { return &flaw{why: why} }

// flawOf makes a flaw of what went wrong while a head was read; nil where the
// client simply left.
func flawOf(err error) *flaw {
	var malformed http1.Error
	switch {
	case errors.As(err, &malformed):
		why := malformed.Error()
		return &flaw{why: strings.ToUpper(why[:1]) + why[1:] + ".", status: refusalStatus(malformed.Status())}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return bad("The request head did not come to its end in time.")
	}
	return nil
}

// refusalStatus is the status a flaw is refused with. All that is too large is
// 431, the request line too: the documented refusals know no 414.
func refusalStatus(status int) int {
	if status == http.StatusRequestURITooLong {
		return http.StatusRequestHeaderFieldsTooLarge
	}
	return status
}

// requestHead is the head of a request, and what is asked of it more than once.
type requestHead struct {
	http1.Request
	method string
	path   string // path and query, as an origin is asked; empty until readTarget sets it
	last   string // the path of an earlier request
	minor  int
	named  naming
}

// naming remembers the host that was named last: most connections ask for the
// same one again.
type naming struct {
	said  []byte // as the client spelt it
	host  policy.Host
	spelt []byte // as the gate spells it in a head; nil: nothing is remembered
}

// parse is the host that said names.
func (n *naming) parse(said []byte) (policy.Host, error) {
	if n.spelt != nil && bytes.Equal(said, n.said) {
		return n.host, nil
	}
	host, err := policy.ParseHost(string(said))
	if err == nil {
		*n = naming{said: append(n.said[:0], said...), host: host, spelt: spell(host)}
	}
	return host, err
}

// spell is how the gate spells a host in a head.
func (n *naming) spell(h policy.Host) []byte {
	if n.spelt != nil && n.host == h {
		return n.spelt
	}
	return spell(h)
}

func spell(h policy.Host) []byte {
	if h.IsIP() && h.Addr().Is6() {
		return []byte("[" + h.String() + "]")
	}
	return []byte(h.String())
}

// endOfHead is how every head ends.
var endOfHead = []byte("\r\n\r\n")

// readHead reads one head from in, and not a byte more, into raw, which it
// returns. The copy keeps what was parsed in place however much is read from in
// afterwards. Heads that are malformed end in an http1.Error.
func readHead(in *wire, raw []byte, parse func([]byte) (int, error)) ([]byte, error) {
	raw = raw[:0]
	for {
		if _, err := in.Peek(1); err != nil {
			return raw, err
		}
		piece := in.pending()
		if end := bytes.Index(piece, endOfHead); end >= 0 {
			piece = piece[:end+len(endOfHead)]
		}
		had := len(raw)
		raw = append(raw, piece...)
		n, err := parse(raw)
		switch {
		case err != nil:
			return raw, err
		case n > 0:
			in.Discard(n - had)
			return raw[:n], nil
		}
		in.Discard(len(piece))
	}
}

// understood fills in what is asked of a parsed head more than once. Nothing that the
// request before asked for is taken for this one's: it may have been somebody else's.
func (h *requestHead) understood() {
	h.method, h.minor = methodName(h.Method), int(h.Minor)
	if h.path != "" {
		h.last, h.path = h.path, ""
	}
}

// methodName is a method as a string, without a copy where it is a usual one.
func methodName(b []byte) string {
	switch string(b) {
	case http.MethodGet:
		return http.MethodGet
	case http.MethodHead:
		return http.MethodHead
	case http.MethodPost:
		return http.MethodPost
	case http.MethodPut:
		return http.MethodPut
	case http.MethodConnect:
		return http.MethodConnect
	case http.MethodOptions:
		return http.MethodOptions
	}
	return string(b)
}

// hasBody reports whether a body follows the head.
func (h *requestHead) hasBody() bool { return h.Body.Kind == http1.Chunked || h.Body.Length > 0 }

// closes reports whether the client ends the connection after this request (RFC
// 9112, section 9.3). Old clients say keep-alive to a proxy in the one field or
// the other.
func (h *requestHead) closes() bool {
	switch {
	case h.Options.Has(http1.OptionClose):
		return true
	case h.Minor == 1:
		return false
	}
	return !h.Options.Has(http1.OptionKeepAlive) && !h.Options.Has(http1.OptionProxyKeepAlive)
}

// listed splits comma-separated field values into lower-case members.
func listed(fields []string) []string {
	var members []string
	for _, f := range fields {
		for m := range strings.SplitSeq(f, ",") {
			if m = strings.ToLower(strings.Trim(m, " \t")); m != "" {
				members = append(members, m)
			}
		}
	}
	return members
}

func tokenByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}
