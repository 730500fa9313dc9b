package proxy

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/andybalholm/brotli"

	"gatehouse/internal/http1"
	"gatehouse/policy"
)

// mostCodings is how many content codings, one inside the other, are looked
// through. Nobody who means well applies more than one.
const mostCodings = 3

// readable reports whether the first bytes show the family of the whole, and
// through which content codings they are to be looked at. Those of a part from
// the middle of a file do not, if a part was asked for: to anybody else an answer
// of status 206 is all there is, whatever it says (RFC 9110, section 15.3.7).
func readable(a *http1.Response, request *http1.Fields) (codings []string, ok bool) {
	if a.Has(http1.ContentEncoding) {
		for _, coding := range listed(values(&a.Fields, "Content-Encoding")) {
			if coding = strings.ToLower(coding); coding != "identity" {
				codings = append(codings, coding)
			}
		}
	}
	if a.Status != http.StatusPartialContent || len(values(request, "Range")) == 0 {
		return codings, true
	}
	unit, part, ok := strings.Cut(strings.TrimSpace(string(a.Value(http1.ContentRange))), " ")
	return codings, ok && strings.EqualFold(unit, "bytes") && strings.HasPrefix(strings.TrimLeft(part, " "), "0-")
}

// opaque reports whether nobody here can look through these codings.
func opaque(codings []string) bool {
	return len(codings) > mostCodings || slices.ContainsFunc(codings, func(c string) bool { return decoders[c] == nil })
}

// decoders undo the content codings (RFC 9110, section 8.4.1; RFC 7932).
var decoders = map[string]func(io.Reader) (io.Reader, error){
	"gzip":    gunzip,
	"x-gzip":  gunzip,
	"deflate": inflate,
	"br":      func(r io.Reader) (io.Reader, error) { return brotli.NewReader(r), nil },
}

func gunzip(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }

// inflate takes zlib, which "deflate" means, and the bare deflate that some
// servers send in its place (RFC 9110, section 8.4.1.2). Zlib begins with its
// method and a check (RFC 1950, section 2.2).
func inflate(r io.Reader) (io.Reader, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	r = io.MultiReader(bytes.NewReader(head[:]), r)
	if head[0]&0x0f == 8 && (int(head[0])<<8|int(head[1]))%31 == 0 {
		return zlib.NewReader(r)
	}
	return flate.NewReader(r), nil
}

// family tells the family of the body by its first bytes; see classify.
func (d *download) family(first []byte, whole bool) (policy.Family, bool) {
	switch {
	case len(d.codings) == 0:
		return classify(first, whole)
	case opaque(d.codings):
		return plainly(first, whole)
	}
	shown, broken := uncover(d.codings, first)
	switch {
	case broken && len(shown) == 0:
		// Not what its coding says: who does not decode gets these very bytes.
		return classify(first, whole)
	case len(shown) == 0 && len(first) == headBytes && !slices.Contains(d.codings, "br"):
		// Brotli's tables may be that long (RFC 7932, section 9.2). Gzip and
		// deflate have so much before their content only to hide what it is.
		return policy.FamilyProgram, true
	case broken || len(shown) == headBytes:
		whole = true
	}
	return classify(shown, whole)
}

// plainly tells the family of bytes under a coding that nobody here knows. They
// may be anything; but a program is one, whatever it is called, to all who do not
// know the coding either.
func plainly(first []byte, whole bool) (policy.Family, bool) {
	family, settled := classify(first, whole)
	if settled && family == policy.FamilyProgram {
		return family, true
	}
	return policy.FamilyUnknown, settled || family != policy.FamilyUnknown
}

// uncover decodes the beginning of a body, at most headBytes of it. Broken says
// that the bytes are not what their coding says, rather than merely cut short.
// What is relayed stays as it is.
func uncover(codings []string, first []byte) (shown []byte, broken bool) {
	var r io.Reader = bytes.NewReader(first)
	var err error
	for i := len(codings) - 1; i >= 0 && err == nil; i-- {
		r, err = decoders[codings[i]](r)
	}
	if err == nil {
		shown = make([]byte, headBytes)
		var n int
		n, err = io.ReadFull(r, shown)
		shown = shown[:n]
	}
	return shown, err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF)
}
