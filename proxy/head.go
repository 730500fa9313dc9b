package proxy

import (
	"bufio"
	"bytes"
	"errors"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"

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

// requestHead is a request head that was read strictly.
type requestHead struct {
	method, target string
	minor          int // HTTP/1.minor
	header         http.Header
	host           string // the Host field; hosts says how many there were
	hosts          int
	length         int64 // Content-Length, 0 where there is none
	chunked        bool
	closes         bool // the client ends the connection after this request
}

// readHead takes the bytes of one head, its empty line included.
func readHead(in *bufio.Reader, limit int) ([]byte, error) {
	var head []byte
	for {
		line, err := in.ReadSlice('\n')
		head = append(head, line...)
		switch {
		case len(head) > limit:
			return nil, &flaw{why: "The request head is larger than this gate accepts.", status: http.StatusRequestHeaderFieldsTooLarge}
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil:
			return nil, err
		}
		switch {
		case len(head) == 2 && head[0] == '\r':
			head = head[:0] // empty lines before a request are skipped (RFC 9112, section 2.2)
			limit -= 2
		case len(line) < 2 || line[len(line)-2] != '\r':
			// A line that ends in a bare LF: two readers could see two
			// different heads, so nothing that follows can be trusted.
			return nil, bad("A line of the request head does not end in CR LF.")
		case bytes.HasSuffix(head, []byte("\r\n\r\n")):
			return head, nil
		}
	}
}

// parseHead reads a head to the letter of RFC 9112; nothing is mended.
func parseHead(raw []byte) (*requestHead, *flaw) {
	lines := strings.Split(strings.TrimSuffix(string(raw), "\r\n\r\n"), "\r\n")
	h := &requestHead{minor: 1, header: http.Header{}}
	if f := h.requestLine(lines[0]); f != nil {
		return h, f
	}
	for _, line := range lines[1:] {
		if f := h.field(line); f != nil {
			return h, f
		}
	}
	return h, h.framing()
}

func (h *requestHead) requestLine(line string) *flaw {
	method, rest, ok := strings.Cut(line, " ")
	target, version, ok2 := strings.Cut(rest, " ")
	switch {
	case !ok || !ok2 || !isToken(method) || target == "":
		return bad("The request line is not of the form METHOD TARGET HTTP/1.1.")
	case version == "HTTP/1.1":
	case version == "HTTP/1.0":
		h.minor = 0
	case strings.HasPrefix(version, "HTTP/2"):
		return bad("HTTP/2 is not spoken here; use HTTP/1.1.")
	default:
		return bad("The request line does not end in HTTP/1.1 or HTTP/1.0.")
	}
	for i := range len(target) {
		if target[i] <= ' ' || target[i] >= 0x7f {
			return bad("The request target has a control character, or one that must be percent-encoded.")
		}
	}
	h.method, h.target = method, target
	return nil
}

func (h *requestHead) field(line string) *flaw {
	name, value, ok := strings.Cut(line, ":")
	if !ok || !isToken(name) {
		// Folded lines (RFC 9112, section 5.2) and spaces before the colon
		// (section 5.1) land here.
		return bad("A header line is not of the form Name: value.")
	}
	value = strings.Trim(value, " \t")
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return bad("A header value has a control character.")
		}
	}
	key := textproto.CanonicalMIMEHeaderKey(name)
	if key == "Host" { // kept apart: who is asked is the target's business
		h.hosts++
		h.host = value
		return nil
	}
	h.header[key] = append(h.header[key], value)
	return nil
}

// framing reads how long the body is (RFC 9112, section 6). Whatever two readers
// could understand differently is refused: it is how requests are smuggled.
func (h *requestHead) framing() *flaw {
	lengths, codings := h.header["Content-Length"], h.header["Transfer-Encoding"]
	delete(h.header, "Content-Length")
	delete(h.header, "Transfer-Encoding")
	switch {
	case len(codings) > 0 && len(lengths) > 0:
		return bad("The request has both Transfer-Encoding and Content-Length.")
	case len(codings) > 0 && h.minor == 0:
		return bad("Transfer-Encoding does not exist in HTTP/1.0.")
	case len(codings) > 1:
		return bad("The request has more than one Transfer-Encoding.")
	case len(codings) == 1 && !strings.EqualFold(codings[0], "chunked"):
		return &flaw{why: "The only Transfer-Encoding understood here is chunked.", status: http.StatusNotImplemented}
	case len(lengths) > 1:
		return bad("The request has more than one Content-Length.")
	case len(lengths) == 1:
		n, err := strconv.ParseUint(lengths[0], 10, 63)
		if err != nil || strings.Trim(lengths[0], "0123456789") != "" {
			return bad("The Content-Length is not a number.")
		}
		h.length = int64(n)
	}
	h.chunked = len(codings) == 1
	h.closes = h.wantsClose()
	if h.method == http.MethodConnect && (h.chunked || h.length > 0) {
		return bad("A CONNECT request has no body.")
	}
	return nil
}

// hasBody reports whether a body follows the head.
func (h *requestHead) hasBody() bool { return h.chunked || h.length > 0 }

// wantsClose reports whether the client ends the connection after this request
// (RFC 9112, section 9.3).
func (h *requestHead) wantsClose() bool {
	options := listed(h.header["Connection"])
	switch {
	case slices.Contains(options, "close"):
		return true
	case h.minor == 1:
		return false
	}
	// Old clients say keep-alive to a proxy in the one field or the other.
	return !slices.Contains(append(options, listed(h.header["Proxy-Connection"])...), "keep-alive")
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

// isToken reports whether s is a token (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		if !tokenByte(s[i]) {
			return false
		}
	}
	return s != ""
}

func tokenByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}
